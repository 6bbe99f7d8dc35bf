"""`/series` over HTTP, page cache warm: the api as a process, with a broker, on a store that store_make made.

Milliseconds from the request to the last byte of the answer. The first answer of each kind, which finds nothing in the
api's own cache, is listed apart from the others.
"""

import time
from pathlib import Path

import httpx

from benchmarks import store_demands as demands
from benchmarks.processes import Measured, free_port, wait_for
from benchmarks.store_data import NODE
from benchmarks.store_make import make
from benchmarks.store_questions import DAY, extent
from cli import programs
from heliograph.store import folder as store_of
from heliograph.store import open_reader

FEW, ALL = f"{NODE}/meter/load_power", f"{NODE}/meter/*"


def asked(http: httpx.Client, parameters: dict[str, str], runs: int) -> tuple[list[float], int]:
    """Return the milliseconds of each run, and the bytes that came."""
    took, size = [], 0
    for _ in range(runs + 1):
        begun = time.perf_counter()
        answer = http.get("/api/v1/series", params=parameters)
        elapsed = (time.perf_counter() - begun) * 1000
        answer.raise_for_status()
        size = answer.num_bytes_downloaded
        took.append(elapsed)
    return took, size


def main() -> None:
    """Print the table."""
    parser = demands.arguments("store_http", __doc__)
    parser.add_argument(
        "--store", type=Path, default=None, help="a folder that store_make filled (default: make a year)"
    )
    parser.add_argument("--runs", type=int, default=20, help="how many answers of each kind (default: 20)")
    options = parser.parse_args()
    with demands.workplace(options.folder) as folder:
        store = (options.store or folder / "year").absolute()
        if not options.store:
            make(store, 365)
        reader = open_reader(store)
        start, end = extent(reader)
        reader.close()
        broker, port = free_port(), free_port()
        data = folder / "data"
        data.mkdir()
        (data / "store").symlink_to(store_of(store))
        config = folder / "config.toml"
        config.write_text(
            f'[node]\nname = "{NODE}"\ndata = "{data}"\nclock = "trust"\n[broker]\nport = {broker}\n'
            f"[api]\nport = {port}\n"
        )
        settings = folder / "mosquitto.conf"
        settings.write_text(f"listener {broker} 127.0.0.1\nallow_anonymous true\nuser root\n")
        processes = [Measured("broker", programs.find("mosquitto"), "-c", str(settings))]
        processes.append(Measured.module("services.api", config))
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as http:
                wait_for(lambda: _answers(http), "the api does not answer", 60)
                _ask_all(http, processes[1], start, end, options.runs)
        finally:
            for process in reversed(processes):
                process.stop()


def _ask_all(http: httpx.Client, api: Measured, start: float, end: float, runs: int) -> None:
    years = round((end - start) / DAY / 365.25)
    spans = [(f"{years} years by month", start, "1mo"), ("one year by hour", max(start, end - 365 * DAY), "1h")]
    for name, since, bucket in spans:
        for series, count in ((FEW, 1), (ALL, 14)):
            for encoding in ("gzip", "identity"):
                http.headers["accept-encoding"] = encoding
                zone = "Europe/Berlin"
                parameters = {"series": series, "from": str(since), "to": str(end), "bucket": bucket, "tz": zone}
                begun = api.cpu
                (first, *others), size = asked(http, {**parameters, "functions": "mean,min,max"}, runs)
                used = (api.cpu - begun) * 1000 / (runs + 1)
                took = sorted(others)
                unit = f"ms (p90 {took[int(runs * 0.9)]:.0f}, CPU {used:.0f}, first {first:.0f})"
                what = f"{name}, {count} series, {encoding}, {size / 1e6:.2f} MB"
                demands.row(what, demands.median(took), unit, at_most=150)


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/api/v1/latest", params={"series": ALL}).is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
