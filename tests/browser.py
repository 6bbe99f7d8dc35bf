"""Chromium without a window, over the Chrome DevTools Protocol: https://chromedevtools.github.io/devtools-protocol/."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

SECONDS = 60.0
PHONE_WIDTH = 600  # pixels; below it the page believes in a phone
OPTIONS = (
    "--headless",
    "--no-sandbox",  # which needs a set-uid program; the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",  # a container's is small
    "--disable-background-networking",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)


@contextmanager
def chromium(command: str, folder: Path) -> Iterator["Browser"]:
    """Run Chromium with a profile of its own, in a folder."""
    log = folder / "chromium.log"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [command, *OPTIONS, f"--user-data-dir={folder / 'profile'}"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        ) as process,
    ):
        try:
            with connect(
                _address(process, folder / "profile", log), max_size=None, ping_interval=None, proxy=None
            ) as way:
                yield Browser(way)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[bytes], profile: Path, log: Path) -> str:
    """Return where Chromium listens; its profile has a file with port and path."""
    file, end = profile / "DevToolsActivePort", time.monotonic() + SECONDS
    while not (lines := file.read_text().splitlines() if file.exists() else [])[1:]:
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < end, "Chromium did not start"
        time.sleep(0.02)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"


class Browser:
    """A running Chromium; its pages share nothing with each other."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._pages: dict[str, Page] = {}
        self._calls = 0

    def open(self, address: str, width: int = 1280, height: int = 900) -> "Page":
        page = Page(self, width, height)
        self._pages[page.session] = page
        page.begin(address)
        return page

    def call(self, method: str, parameters: Mapping[str, object], session: str = "") -> dict[str, Any]:
        """Return the result of a method of the protocol; what pages report meanwhile is noted."""
        self._calls += 1
        call = {"id": self._calls, "method": method, "params": parameters}
        self._connection.send(json.dumps(call | ({"sessionId": session} if session else {})))
        while True:
            message = json.loads(self._connection.recv(timeout=SECONDS))
            if message.get("id") == self._calls:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            if page := self._pages.get(message.get("sessionId", "")):
                page.note(message["method"], message["params"])


class Page:
    """A page of a size in pixels, with storage of its own."""

    def __init__(self, browser: Browser, width: int, height: int) -> None:
        self._browser = browser
        self._context = browser.call("Target.createBrowserContext", {})["browserContextId"]
        target = browser.call("Target.createTarget", {"url": "about:blank", "browserContextId": self._context})
        attached = browser.call("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        self.session: str = attached["sessionId"]
        self._size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < PHONE_WIDTH}
        self._complaints: list[str] = []

    def begin(self, address: str) -> None:
        for domain in ("Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call("Emulation.setDeviceMetricsOverride", **self._size)
        answer = self._call("Page.navigate", url=address)
        assert "errorText" not in answer, f"{address}: {answer['errorText']}"

    def run(self, script: str) -> Any:
        """Return what an expression of JavaScript, or the promise that it is, comes to."""
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """Return the text that a person sees in all elements of a selector, a line for each; empty if there are none."""
        shown: str = self.run(
            f"Array.from(document.querySelectorAll({json.dumps(selector)}), (one) => one.innerText.replace(/\\s+/g, ' ')).join('\\n')"
        )
        return shown

    def complaints(self) -> list[str]:
        """Return, once, what went wrong: errors of scripts and of the console, failed requests, requests to elsewhere."""
        self.run("0")  # notes what was reported before
        noted, self._complaints = self._complaints, []
        return noted

    def note(self, event: str, content: dict[str, Any]) -> None:
        match event:
            case "Runtime.exceptionThrown":
                details = content["exceptionDetails"]
                self._complaints.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if content["type"] in {"error", "warning", "assert"}:
                self._complaints.append(" ".join(str(one.get("value", one)) for one in content["args"]))
            case "Log.entryAdded" if content["entry"]["level"] in {"error", "warning"}:
                self._complaints.append(f"{content['entry']['text']} {content['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self._note_address(content["request"]["url"])
            case "Network.webSocketCreated":
                self._note_address(content["url"])

    def _note_address(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in {"data", "blob"} and parts.hostname != "127.0.0.1":
            self._complaints.append(f"the page asks {address}")

    def close(self) -> None:
        self._browser.call("Target.disposeBrowserContext", {"browserContextId": self._context})

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        return self._browser.call(method, parameters, self.session)
