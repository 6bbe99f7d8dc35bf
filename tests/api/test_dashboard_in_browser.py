import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heliograph.messages import Block, Channel, Info, encode
from heliograph.store import open_reader, open_writer
from tests.api.conftest import START, TRACER, Running
from tests.browser import Browser, Page, chromium
from tests.conftest import optional_program

pytestmark = pytest.mark.usefixtures("packages")

SERIAL_BRIDGE = "heliograph/roof/services/serial_bridge/status"
PHONE = 390  # pixels, the width of most phones


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


def test_names_and_values_are_as_people_read_them(running: Running, open_page: Open) -> None:
    page = open_page()

    def shown(call: str) -> object:
        return page.run(f"import('/format.js').then((format) => format.{call})")

    for name, text in {
        "battery_soc": "Battery SOC",
        "pv_power": "PV power",
        "emontx": "emonTx",
        "emontx_cm": "emonTx CM",
        "emontx3cm": "emonTx V3 CM",
        "emonth": "emonTH",
        "vrms": "V RMS",
        "vrms2": "V RMS 2",
        "msg": "Message number",
        "vm": "VM",
        "ct1": "CT1",
        "power1": "Power 1",
        "sdm630": "SDM630",
        "e1": "E1",
        "sky_temp": "Sky temp",
        "kitchen": "Kitchen",
    }.items():
        assert shown(f"title('{name}')") == text
    for raw, unit, text in (
        (22606, "MB", "22.6 GB"),
        (950, "MB", "950 MB"),
        (3.2e6, "kB", "3.2 GB"),
        (42, "s", "42 s"),
        (1392, "s", "23 min"),
        (18720, "s", "5 h 12 min"),
        (7200, "s", "2 h"),
        (266400, "s", "3 d 2 h"),
        (-90, "s", "-1 min 30 s"),
        (119, "s", "1 min 59 s"),
        (172800, "s", "2 d"),
        (2345.6, "W", "2.35 kW"),
        (26.5, "°C", "26.5 °C"),
    ):
        assert shown(f"value({raw}, '{unit}').join(' ')") == text
    for ticks, unit, texts in (
        ("[0, 20, 40, 60, 80]", "s", "0:00 min, 0:20 min, 0:40 min, 1:00 min, 1:20 min"),
        ("[0, 1200, 2400]", "s", "0 s, 20 min, 40 min"),
        ("[180000, 180600]", "s", "50:00 h, 50:10 h"),
        ("[172800, 259200, 266400]", "s", "2 d, 3 d, 3 d 2 h"),
        ("[0.2, 0.4]", "s", "0.2 s, 0.4 s"),
        ("[0, 20000]", "MB", "0 GB, 20 GB"),
    ):
        assert str(shown(f"tickTexts({ticks}, '{unit}').join(', ')")).replace("\u202f", " ") == texts


def test_no_two_channels_of_a_device_have_one_label(tracer: Running, open_page: Open, eventually: Eventually) -> None:
    channels = {
        "a": Channel("MB", label="written to the disk"),
        "b": Channel("MB", label="written to the disk"),
        "c": Channel("MB", label="written"),
    }
    tracer.tell("heliograph/roof/devices/system/info", encode(Info("Pi", channels, 60.0, "sensor_reader")))
    tracer.state("system", a=1, b=2, c=3)
    page = open_page()
    eventually(lambda: "Written to the disk (A)" in page.text("helio-card"))
    assert "Written to the disk (B)" in page.text("helio-card")
    assert page.text("helio-card .name").splitlines().count("Written") == 1


def test_a_page_that_stays_open_paints_nothing_without_news(
    tracer: Running, open_page: Open, eventually: Eventually
) -> None:
    page = open_page()
    eventually(lambda: page.text(".pill").startswith("Live"))
    ends = "document.getAnimations().map((one) => one.effect.getComputedTiming().endTime)"
    assert all(end is not None and end < 60_000 for end in page.run(ends))  # Infinity is no JSON: null


def test_the_values_of_the_chart_can_be_had_as_a_file(
    tracer: Running, open_page: Open, data: Path, eventually: Eventually
) -> None:
    writer = open_writer(data)
    writer.write("roof", [Block("tracer", ("pv_power",), [[time.time() - 60, 5.5]])])
    writer.commit({})
    writer.close()
    page = open_page()
    eventually(lambda: page.text("helio-chart .file") == "CSV")
    text = page.run("fetch(document.querySelector('helio-chart .file').href).then((response) => response.text())")
    assert text.startswith("time,")
    assert "roof/tracer/pv_power" in text.splitlines()[0]
    assert any("5.5" in line for line in text.splitlines()[1:])


def test_a_tab_and_an_icon_of_a_home_screen_have_a_name(
    tracer: Running, open_page: Open, eventually: Eventually
) -> None:
    page = open_page()
    eventually(lambda: page.run("document.title") == "Roof · Heliograph")
    manifest = page.run("fetch(document.querySelector('link[rel=manifest]').href).then((response) => response.json())")
    assert (manifest["name"], manifest["display"]) == ("Heliograph", "standalone")


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
        eventually(lambda: word[1:] in page.text("helio-chart .legend"))
    # the plots get their width a moment after they are there
    eventually(lambda: page.run("document.documentElement.scrollWidth") == PHONE)


def test_a_tile_and_a_line_name_the_node_when_there_are_several(
    tracer: Running, open_page: Open, eventually: Eventually
) -> None:
    """Case N4."""
    page = open_page()
    eventually(lambda: page.text(".tile-note").startswith("Tracer · "))
    tracer.tell("heliograph/barn/devices/tracer/info", encode(TRACER))
    tracer.tell("heliograph/barn/devices/tracer/state", {"time": START + 36000, "values": {"pv_power": 12.0}})
    ask_again(page)
    eventually(lambda: page.text(".tile-note").startswith("Roof · Tracer · "))  # that of the page's own node
    assert "Roof · Tracer" in page.text("helio-chart .legend")
    assert "731W" in page.text(".tile-value")


def test_a_series_without_history_does_not_take_the_chart_away(
    tracer: Running, data: Path, open_page: Open, eventually: Eventually
) -> None:
    """Case N4."""
    writer = open_writer(data)
    writer.declare("roof", "tracer", TRACER)
    writer.write(
        "roof", [Block("tracer", ("pv_power",), [[time.time() - 600 + at, 700.0] for at in range(0, 600, 60)])]
    )
    writer.commit({})
    writer.close()
    page = open_page()
    eventually(lambda: page.run("document.querySelectorAll('.plots:not([hidden]) canvas').length") == 1)
    tracer.tell("heliograph/barn/devices/meter/info", encode(Info("Meter", {"power": Channel("VA")})))
    tracer.tell("heliograph/barn/devices/meter/state", {"time": time.time(), "values": {"power": 12.0}})
    ask_again(page)
    eventually(lambda: "12VA" in page.text("helio-card"))
    page.run("document.querySelector('helio-card[aria-label], [aria-label=\"Node barn\"] helio-card button').click()")
    eventually(lambda: "Barn · Meter" in page.text("helio-chart .legend"))
    tracer.tell("heliograph/barn/devices/meter/state", {"time": time.time(), "values": {"power": 13.0}})
    eventually(
        lambda: page.run("document.querySelectorAll('.plots:not([hidden]) canvas').length") == 2
    )  # a plot per unit


def test_a_chart_of_nothing_that_is_stored_says_so(tracer: Running, open_page: Open, eventually: Eventually) -> None:
    tracer.tell("heliograph/barn/devices/meter/info", encode(Info("Meter", {"grid_power": Channel("W")})))
    tracer.tell("heliograph/barn/devices/meter/state", {"time": time.time(), "values": {"grid_power": 12.0}})
    tracer.tell("heliograph/roof/devices/tracer/info", b"")
    page = open_page()
    eventually(lambda: "Nothing of these channels is stored here yet" in page.text("helio-chart"))
    assert all("404" in complaint for complaint in page.complaints())


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
