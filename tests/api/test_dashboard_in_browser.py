from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heliograph.messages import Channel, Info, encode
from heliograph.store import open_reader
from tests.api.conftest import TRACER, Running
from tests.browser import Browser, Page, chromium
from tests.conftest import optional_program

pytestmark = pytest.mark.usefixtures("packages")

SERIAL_BRIDGE = "heliograph/roof/services/serial_bridge/status"
PHONE = 390  # pixels, the width of most phones

TOO_WIDE = f"""
Array.from(document.querySelectorAll("body *")).filter((one) => one.scrollWidth > {PHONE}).map((one) => one.outerHTML.slice(0, 200))
"""

Open = Callable[..., Page]
Eventually = Callable[..., object]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(optional_program("chromium-headless-shell"), tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def open_page(browser: Browser, running: Running) -> Iterator[Open]:
    """`open_page(path, width=…)` opens a page of the node; at the end nothing may have gone wrong on it."""
    pages: list[Page] = []

    def open_page(path: str = "/", **size: int) -> Page:
        pages.append(browser.open(f"http://127.0.0.1:{running.port}{path}", **size))
        return pages[-1]

    yield open_page
    complaints = [complaint for page in pages for complaint in page.complaints()]
    for page in pages:
        page.close()
    assert complaints == []


@pytest.fixture
def tracer(running: Running) -> Running:
    """The node, which has received what its tracer measures, and a first reading."""
    running.tell("heliograph/roof/devices/tracer/info", encode(TRACER))
    running.state("tracer", pv_power=731.0, charging="boost")
    return running


def ask_again(page: Page) -> None:
    """Let the page ask the node at once, as it does when the network is back, not only in 15 s."""
    page.run("dispatchEvent(new Event('online'))")


def test_the_page_shows_live_values_of_a_device_and_follows_a_change(
    tracer: Running, open_page: Open, eventually: Eventually
) -> None:
    page = open_page()
    eventually(lambda: "731W" in page.text("helio-card"))
    assert "boost" in page.text("helio-card")
    page.run("window.fetch = () => new Promise(() => {})")  # from now on only the live feed can tell it
    tracer.state("tracer", pv_power=842.0)
    eventually(lambda: "842W" in page.text("helio-card"))
    assert "842W" in page.text(".tile")


def test_the_banner_says_that_readings_were_lost_and_goes_when_that_is_over(
    tracer: Running, open_page: Open, eventually: Eventually
) -> None:
    loss = "the outbox lost 700 readings because it was full"
    page = open_page()
    eventually(lambda: page.text("helio-card"))
    assert page.text(".banner") == ""
    tracer.tell(SERIAL_BRIDGE, {"state": "online", "facts": {"outbox_problems": [loss]}})
    ask_again(page)
    eventually(lambda: loss in page.text(".banner"))
    tracer.tell(SERIAL_BRIDGE, {"state": "online", "facts": {"outbox_problems": []}})
    ask_again(page)
    eventually(lambda: page.text(".banner") == "")


@pytest.mark.parametrize(("path", "shown"), [("/", "helio-card"), ("/api/v1/docs", ".operation")])
def test_nothing_scrolls_sideways_on_a_phone(
    tracer: Running, open_page: Open, eventually: Eventually, path: str, shown: str
) -> None:
    word = "a_word_that_is_wider_than_a_phone_" * 3
    tracer.state("tracer", charging=word)
    stranger = "x" * 60
    tracer.tell(f"heliograph/roof/devices/{stranger}/info", encode(Info(word, {word[:60]: Channel(label=word)})))
    tracer.state(stranger, **{word[:60]: 21.5})
    tracer.tell(SERIAL_BRIDGE, {"state": "online", "facts": {"problems": [word]}})
    page = open_page(path, width=PHONE, height=844)
    eventually(lambda: page.text(shown))
    if path == "/":
        page.run("Array.from(document.querySelectorAll('helio-card button'), (row) => row.click())")  # into the chart
        eventually(lambda: f"no series roof/{stranger}" in page.text("helio-chart"))
        assert all("404" in complaint for complaint in page.complaints())
    assert page.run("document.documentElement.scrollWidth") == PHONE, page.run(TOO_WIDE)


def test_the_page_says_that_the_connection_is_lost_and_is_live_again_after_it(
    tracer: Running, data: Path, open_page: Open, eventually: Eventually
) -> None:
    page = open_page()
    eventually(lambda: page.text(".pill").startswith("Live"))
    tracer.stop()
    eventually(lambda: page.text(".pill") == "Reconnecting")
    assert "Connection lost" in page.text(".banner")
    assert "731W" in page.text("helio-card")  # what was known stays
    again = Running(lambda: open_reader(data), port=tracer.port)
    again.start()
    try:
        eventually(lambda: page.text(".pill").startswith("Live"))
        assert page.text(".banner") == ""
        again.state("tracer", pv_power=842.0)
        eventually(lambda: "842W" in page.text("helio-card"))
        complaints = page.complaints()  # of what it asked meanwhile
    finally:
        again.stop()
    assert all("ERR_CONNECTION_REFUSED" in complaint for complaint in complaints)


def test_what_goes_wrong_on_a_page_is_noticed(open_page: Open, eventually: Eventually) -> None:
    page = open_page("/api/v1/docs")
    page.run("setTimeout(() => { throw new Error('a script failed') })")
    page.run("console.error('an error on the console')")
    page.run("fetch('/api/v1/nothing').then(() => fetch('https://example.org/')).catch(() => 0)")
    page.run("new Promise((resolve) => setTimeout(resolve))")
    noted = "\n".join(page.complaints())
    for part in ("a script failed", "an error on the console", "404", "example.org"):
        assert part in noted
