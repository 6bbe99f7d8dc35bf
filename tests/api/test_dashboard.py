import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from heliograph.store import open_reader
from services.api import dashboard
from tests.api.conftest import Running

ROOT = Path(__file__).parents[2]
LOADED = re.compile(r"""(?:src|href)="(/[^"]+)"|(?:from|import) ?"(/[^"]+)\"""")
BARE = re.compile(r"""(?:from|import) ?"([a-z@][^"]*)\"""")


pytestmark = pytest.mark.usefixtures("packages")


@pytest.fixture
def site(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", verify=False) as http:
        yield http


@pytest.mark.parametrize("path", ["/", "/api/v1/docs"])
def test_a_page_and_everything_it_loads_comes_from_the_node(site: httpx.Client, path: str) -> None:
    text = site.get(path).text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    imports = json.loads(re.findall(r'<script type="importmap">(.*?)</script>', text, re.DOTALL)[0])["imports"]
    seen: set[str] = set()
    waiting = [path for pair in LOADED.findall(text) for path in pair if path]
    while waiting:
        address = waiting.pop()
        if address in seen or address.startswith("/api/"):
            continue
        seen.add(address)
        answer = site.get(address)
        assert answer.status_code == 200, address
        if address.endswith(".js"):
            waiting += [path for pair in LOADED.findall(answer.text) for path in pair if path]
            waiting += [imports[name] for name in BARE.findall(answer.text)]
            folder = address.rsplit("/", 1)[0]
            waiting += [f"{folder}/{name}" for name in re.findall(r'from ?"\./([^"]+)"', answer.text)]
    assert any("lit-html" in address for address in seen)


def test_the_page_with_all_it_loads_is_small(site: httpx.Client) -> None:
    files = [file for file in dashboard.STATIC.rglob("*") if file.suffix in {".js", ".css", ".html", ".svg"}]
    sizes = [
        sum(len(chunk) for chunk in answer.iter_raw())
        for file in files
        for answer in [site.send(site.build_request("GET", f"/{file.relative_to(dashboard.STATIC)}"), stream=True)]
    ]
    assert sum(sizes) < 100_000


def test_a_browser_may_load_only_from_the_node_and_make_no_html_of_strings(site: httpx.Client) -> None:
    policy = dict(part.split(" ", 1) for part in site.get("/").headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in str(policy)
    import_map = re.findall(r'<script type="importmap">(.*?)</script>', site.get("/").text, re.DOTALL)[0]
    assert base64.b64encode(hashlib.sha256(import_map.encode()).digest()).decode() in policy["script-src"]


@pytest.mark.parametrize("path", ["/", "/app.js", "/api/v1/devices", "/nothing"])
def test_every_answer_has_the_security_headers(site: httpx.Client, path: str) -> None:
    headers = site.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "content-security-policy" in headers


@pytest.mark.parametrize("path", ["/", "/api/v1/docs", "/app.js", "/vendor/uplot/dist/uPlot.esm.js"])
def test_what_has_not_changed_is_not_sent_again(site: httpx.Client, path: str) -> None:
    first = site.get(path)
    assert first.headers["cache-control"] == "no-cache"
    again = site.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_lock_file_names_no_place_to_download_from() -> None:
    text = (ROOT / "services/api/package-lock.json").read_text()
    assert "resolved" not in text
    assert "://" not in text


def test_the_packages_are_those_of_the_lock_file() -> None:
    lock = json.loads((ROOT / "services/api/package-lock.json").read_text())
    assert (dashboard.STATIC / "vendor/package-lock.json").read_bytes() == (
        ROOT / "services/api/package-lock.json"
    ).read_bytes()
    assert lock["packages"][""]["dependencies"].keys() == {"lit", "uplot"}


def test_no_script_of_the_page_puts_strings_into_markup() -> None:
    for script in dashboard.STATIC.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|unsafeHTML|document\.write|eval\(", script.read_text()
        )


def test_only_the_pages_named_in_origins_may_read_from_elsewhere(data: Path) -> None:
    friend, stranger = "https://solar.example.org", "https://evil.example"
    running = Running(lambda: open_reader(data), origins=(friend,))
    running.start()
    address = f"127.0.0.1:{running.port}/api/v1"
    allowed = {
        origin: httpx.get(f"http://{address}/devices", headers={"origin": origin}, verify=False).headers.get(
            "access-control-allow-origin"
        )
        for origin in (friend, stranger)
    }
    with connect(f"ws://{address}/live", additional_headers={"Origin": friend}) as websocket:
        websocket.send("?")
        assert "detail" in json.loads(websocket.recv(timeout=20))
    running.stop()
    assert allowed == {friend: friend, stranger: None}
