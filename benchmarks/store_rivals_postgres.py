"""PostgreSQL with a plain table of rows and its primary key, filled by COPY."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from benchmarks.processes import free_port
from benchmarks.store_data import Day
from benchmarks.store_demands import is_root
from benchmarks.store_rivals import UNPRIVILEGED, RivalServer
from cli import programs

HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"
SINCE_2000 = 946_684_800_000  # ms: PostgreSQL counts µs from there
ROW = np.dtype(
    [("fields", ">i2"), ("n1", ">i4"), ("sid", ">i4"), ("n2", ">i4"), ("ts", ">i8"), ("n3", ">i4"), ("v", ">f8")]
)


class Postgres:
    """reading(series, ts, v), primary key (series, ts); all settings as they come."""

    def __init__(self, folder: Path) -> None:
        self.name = "PostgreSQL"
        self._ids: dict[tuple[str, str], int] = {}
        data, port = folder / "data", free_port()
        as_unprivileged = (
            ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"] if is_root() else []
        )
        if is_root():  # PostgreSQL refuses to run as root
            os.chown(folder, UNPRIVILEGED, UNPRIVILEGED)
        initdb = [
            *as_unprivileged,
            programs.find("initdb"),
            "-D",
            str(data),
            "-U",
            "bench",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        options = ["-D", str(data), "-k", str(folder), "-h", "127.0.0.1", "-p", str(port)]
        self._server = RivalServer("postgres", *as_unprivileged, programs.find("postgres"), *options)
        self._database = _connected(f"host=127.0.0.1 port={port} user=bench dbname=postgres")
        self._database.execute("CREATE TABLE reading(series int4, ts timestamptz, v float8, PRIMARY KEY(series, ts))")

    @property
    def cpu(self) -> float:
        """CPU seconds of the server and its children so far."""
        return self._server.cpu

    def load(self, day: Day) -> None:
        """COPY a day, series after series, in PostgreSQL's binary form."""
        rows = np.empty(len(day.times), ROW)
        rows["fields"], rows["n1"], rows["n2"], rows["n3"] = 3, 4, 8, 8
        rows["ts"] = (day.times - SINCE_2000) * 1000
        with self._database.cursor() as cursor, cursor.copy("COPY reading FROM STDIN (FORMAT binary)") as copy:
            copy.write(HEAD)
            for name, column in zip(day.channels, day.columns, strict=True):
                rows["sid"], rows["v"] = self._id(day.device, name), column
                copy.write(rows.tobytes())
            copy.write(END)

    def live(self, days: Sequence[Day]) -> None:
        """Insert readings in one transaction."""
        with self._database.transaction(), self._database.cursor() as cursor:
            for day in days:
                for name, column in zip(day.channels, day.columns, strict=True):
                    sid = self._id(day.device, name)
                    rows = [
                        (sid, ts / 1000, float(v)) for ts, v in zip(day.times.tolist(), column.tolist(), strict=True)
                    ]
                    cursor.executemany(
                        "INSERT INTO reading VALUES(%s, to_timestamp(%s), %s) ON CONFLICT (series, ts) DO UPDATE SET v=excluded.v",
                        rows,
                    )

    def settle(self) -> None:
        """VACUUM, ANALYZE and CHECKPOINT, as autovacuum would sooner or later."""
        self._database.execute("VACUUM (ANALYZE) reading")
        self._database.execute("CHECKPOINT")

    def bytes(self) -> int:
        """Return the bytes of the table and its index, without PostgreSQL's own 7 MB and its write-ahead log."""
        size = self._database.execute("SELECT pg_total_relation_size('reading')").fetchone()
        return int(size[0]) if size else 0

    def bucketed(self, channel: str, start: float, end: float, seconds: int) -> int:
        """Group by date_bin."""
        rows = self._database.execute(
            "SELECT date_bin(make_interval(secs => %s), ts, to_timestamp(%s)), count(*), avg(v), min(v), max(v) FROM reading "
            "WHERE series=%s AND ts >= to_timestamp(%s) AND ts < to_timestamp(%s) GROUP BY 1 ORDER BY 1",
            (seconds, start, self._id("meter", channel), start, end),
        ).fetchall()
        return len(rows)

    def stop(self) -> None:
        """End the server."""
        self._database.close()
        self._server.stop()

    def _id(self, device: str, channel: str) -> int:
        return self._ids.setdefault((device, channel), len(self._ids) + 1)


def _connected(address: str, seconds: float = 30) -> "psycopg.Connection[tuple[Any, ...]]":
    end = time.monotonic() + seconds
    while True:
        try:
            return psycopg.connect(address, autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def start(folder: Path) -> Postgres:
    """Return the database, empty; raise FileNotFoundError if there is none."""
    return Postgres(folder)
