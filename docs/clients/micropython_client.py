"""Send readings from a microcontroller to a Heliograph node. For MicroPython 1.19 or newer; runs in Python too.

    from micropython_client import Client

    client = Client("192.168.1.20", 8000, "00112233445566778899aabbccddeeff")
    while True:
        client.add("attic", {"temperature": sensor.temperature()})
        client.send()
        time.sleep(60)

Readings wait in memory while the node is away. With a clock that is set (`ntptime.settime()` after
the network is up) each has its own time, and arrives once; without it only the newest is kept.
"""

import json
import socket
import time

MOST = 50
EPOCH = 946684800 if time.gmtime(0)[0] == 2000 else 0  # where this board counts from


class Client:
    """Keeps readings until the node has them."""

    def __init__(self, host, port, key):
        self.host = host
        self.port = port
        self.key = key
        self.waiting = []

    def add(self, device, values, info=None):
        """Keep a reading of a device."""
        reading = {"device": device, "values": values}
        if info:
            reading["info"] = info
        if time.gmtime()[0] >= 2024:
            reading["time"] = int(time.time()) + EPOCH
        else:
            self.waiting = [other for other in self.waiting if "time" in other or other["device"] != device]
        self.waiting.append(reading)
        self.waiting = self.waiting[-MOST:]

    def send(self):
        """Send what waits; return whether the node has taken it, or never will. Else it waits on."""
        if not self.waiting:
            return True
        try:
            status = self.post(json.dumps(self.waiting).encode())
        except (OSError, ValueError, IndexError):
            return False  # no answer, or none of a node
        if status in (202, 400, 409, 413, 422):
            self.waiting = []
            return True
        return False

    def post(self, body):
        """Return the status of POST /api/v1/readings; raise OSError without an answer."""
        connection = socket.socket()
        try:
            connection.settimeout(20)
            connection.connect(socket.getaddrinfo(self.host, self.port)[0][-1])
            head = [
                "POST /api/v1/readings HTTP/1.1",
                f"Host: {self.host}:{self.port}",
                f"Authorization: Bearer {self.key}",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
                "Connection: close",
                "",
                "",
            ]
            rest = "\r\n".join(head).encode() + body
            while rest:  # not every port has sendall
                rest = rest[connection.send(rest) :]
            answer = b""
            while b"\r\n" not in answer:
                part = connection.recv(100)
                if not part:
                    raise OSError("no answer")
                answer += part
            return int(answer.split(b" ")[1])
        finally:
            connection.close()
