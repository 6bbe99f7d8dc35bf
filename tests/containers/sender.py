import threading
import time
from itertools import count

import httpx

EVERY_SECONDS = 0.1


class Sender(threading.Thread):
    """Posts numbered readings until it is stopped, each until it is accepted."""

    def __init__(self, client: httpx.Client) -> None:
        super().__init__(daemon=True)
        self.accepted: dict[float, float] = {}  # number by time
        self._client = client
        self._asked_to_stop = threading.Event()

    def run(self) -> None:
        for number in count():
            moment = round(time.time(), 3)
            reading = {"device": "sender", "time": moment, "values": {"number": number}}
            while not self._is_accepted(reading):
                if self._asked_to_stop.wait(EVERY_SECONDS):
                    return
            self.accepted[moment] = float(number)
            if self._asked_to_stop.wait(EVERY_SECONDS):
                return

    def stop(self) -> None:
        self._asked_to_stop.set()
        self.join()

    def stored(self, series: str) -> list[tuple[float, float]]:
        """Return time and value of what the node has stored of the accepted readings."""
        span = {"from": str(min(self.accepted)), "to": str(max(self.accepted) + 1)}
        try:
            answer = self._client.get("/api/v1/series", params={"series": series, **span})
        except httpx.TransportError:
            return []
        points = answer.json()["series"].get(series, {}) if answer.status_code == 200 else {}
        rows = zip(points.get("time", []), points.get("value", []), strict=True)
        return [row for row in rows if row[0] in self.accepted]

    def _is_accepted(self, reading: dict[str, object]) -> bool:
        try:
            return self._client.post("/api/v1/readings", json=reading).status_code == 202
        except httpx.TransportError:
            return False
