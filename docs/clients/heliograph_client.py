"""Send readings to a Heliograph node, and lose none while the network, the node or this program is away.

Copy this file: it needs Python 3.9 or newer and nothing else.

    from heliograph_client import Client

    client = Client("http://roof.local:8000", key="00112233445566778899aabbccddeeff")
    client.add("attic", {"temperature": 21.4, "humidity": 41.3})
    client.send()

`add` puts a reading on disk, with its time; `send` hands over what is there. Call both as often as
you like. As a program it reads one JSON object per line and sends until all is handed over:

    echo '{"device": "attic", "values": {"temperature": 21.4}}' | python heliograph_client.py http://roof.local:8000
"""

import argparse
import json
import os
import sqlite3
import sys
import time
import urllib.error
import urllib.request

BATCH = 500
MOST = 1_000_000  # readings that wait; then the oldest go
WRONG = (400, 409, 413, 422)  # the same request will never be taken


class Client:
    """A queue on disk in front of POST /api/v1/readings; `queue` is its file."""

    def __init__(self, url, key, queue="heliograph-queue.db", timeout=30.0):
        self._address = url.rstrip("/") + "/api/v1/readings"
        self._key = key
        self._timeout = timeout
        self._next = 0.0
        self._pause = 1.0
        self.problem = ""
        self._queue = sqlite3.connect(queue, isolation_level=None)
        self._queue.execute("PRAGMA journal_mode = WAL")
        self._queue.execute("CREATE TABLE IF NOT EXISTS reading (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT)")
        self._queue.execute("CREATE TABLE IF NOT EXISTS refused (id INTEGER PRIMARY KEY, body TEXT, why TEXT)")

    def add(self, device, values, at=None, info=None):
        """Keep a reading of a device; `at` is UTC seconds, now unless given. With `info` the node learns units."""
        # The time makes it the same reading however often it is sent.
        reading = {"device": device, "values": values, "time": round(time.time() if at is None else at, 3)}
        if info:
            reading["info"] = info
        body = json.dumps(reading, allow_nan=False)
        self._queue.execute("INSERT INTO reading (body) VALUES (?)", (body,))
        self._queue.execute("DELETE FROM reading WHERE id <= (SELECT max(id) FROM reading) - ?", (MOST,))

    def waiting(self):
        """Return how many readings are on disk still."""
        return self._queue.execute("SELECT count(*) FROM reading").fetchone()[0]

    def refused(self):
        """Return the readings that the node refused for good, each with the reason."""
        return self._queue.execute("SELECT body, why FROM refused ORDER BY id").fetchall()

    def send(self):
        """Hand over what is on disk, oldest first; return whether nothing is left. Never waits before it tries again."""
        while time.monotonic() >= self._next:
            rows = self._queue.execute("SELECT id, body FROM reading ORDER BY id LIMIT ?", (BATCH,)).fetchall()
            if not rows:
                return True
            self._hand_over(rows)
        return self.waiting() == 0

    def wait(self):
        """Sleep until `send` may try again."""
        time.sleep(max(0.0, self._next - time.monotonic()))

    def close(self):
        """Close the queue; what is in it stays."""
        self._queue.close()

    def _hand_over(self, rows):
        status, message, pause = self._post("[" + ",".join(body for _, body in rows) + "]")
        if status == 202:
            self._forget(rows)
            self._pause, self.problem = 1.0, ""
        elif status in WRONG and len(rows) > 1:
            middle = len(rows) // 2  # one bad reading must not stop the others
            self._hand_over(rows[:middle])
            if time.monotonic() >= self._next:
                self._hand_over(rows[middle:])
        elif status in WRONG:
            self._queue.execute("INSERT INTO refused (body, why) VALUES (?, ?)", (rows[0][1], message))
            self._forget(rows)
        else:
            self.problem = message
            self._next = time.monotonic() + (pause or self._pause)
            self._pause = min(60.0, 2 * self._pause)

    def _forget(self, rows):
        self._queue.execute("DELETE FROM reading WHERE id BETWEEN ? AND ?", (rows[0][0], rows[-1][0]))

    def _post(self, body):
        """Return the status (0 without an answer), the node's message, and the seconds to wait before the next request."""
        headers = {"Authorization": "Bearer " + self._key, "Content-Type": "application/json"}
        request = urllib.request.Request(self._address, body.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                return answer.status, "", 0
        except urllib.error.HTTPError as error:
            with error:
                pause = error.headers.get("Retry-After", "")
                message = error.read(2000).decode("utf-8", "replace")
                return error.code, message, float(pause) if pause.isdigit() else 0
        except (OSError, ValueError) as error:
            return 0, str(error), 0


def main():
    """Send what comes on standard input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the node, http://roof.local:8000")
    parser.add_argument("--queue", default="heliograph-queue.db", help="where readings wait")
    arguments = parser.parse_args()
    if "HELIOGRAPH_KEY" not in os.environ:
        sys.exit("set HELIOGRAPH_KEY to the key")
    client = Client(arguments.url, os.environ["HELIOGRAPH_KEY"], arguments.queue)
    for line in sys.stdin:
        reading = json.loads(line)
        client.add(reading["device"], reading["values"], reading.get("time"), reading.get("info"))
    while not client.send():
        sys.stderr.write(f"{client.waiting()} readings wait: {client.problem}\n")
        client.wait()
    for body, why in client.refused():
        sys.stderr.write(f"refused: {body}: {why}\n")
    client.close()


if __name__ == "__main__":
    main()
