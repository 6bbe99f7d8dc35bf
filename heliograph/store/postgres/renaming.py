"""Renames nodes, devices and channels in a database, in one transaction: all of it, or nothing."""

from collections.abc import Mapping

import msgspec

from heliograph import renames
from heliograph.renames import Rename
from heliograph.store import changed_units
from heliograph.store.copied_names import CopiedNames
from heliograph.store.interface import Progress
from heliograph.store.postgres.names import pack, unpack
from heliograph.store.postgres.schema import Connection, meta, put_meta
from heliograph.store.rename_plan import CannotRename, Renaming, moved_progress, plan, was_done

TIERS = ("r5m", "r1h", "r1d")


def check(connection: Connection, old: str, new: str) -> Renaming:
    """Return what `rename` would do, without a change; raise CannotRename or psycopg.Error."""
    done = plan(_known(connection), old, new)
    for sid, other in done.joined_series.items():
        both = connection.execute(  # a day, as cells of the other tiers are within one
            "SELECT 1 FROM r1d a JOIN r1d b USING (bucket) WHERE a.series = %s AND b.series = %s "
            "AND bucket < (SELECT raw_from FROM clock) LIMIT 1",
            (sid, other),
        ).fetchone()
        if both:
            raise CannotRename(
                "there are days with only cells, and some of one day under both names: they cannot be joined"
            )
    return done


def rename(connection: Connection, entry: Rename, now: float) -> Renaming:
    """Rename in the open transaction, and keep a note of it; `now` in seconds UTC. Raises CannotRename or psycopg.Error."""
    row = connection.execute("SELECT raw_from, revision FROM clock FOR UPDATE").fetchone()
    raw_from, revision = (row[0], row[1] + 1) if row else (0, 1)
    known = _known(connection)
    noted = renames.decode(meta(connection, renames.KEY))
    if was_done(known, noted, entry):  # something after it was interrupted
        return Renaming({}, {}, {}, {})
    done = check(connection, entry.old, entry.new)
    for number, name in done.devices.items():
        if number not in done.joined_devices:
            node, _, device = name.partition("/")
            connection.execute("UPDATE device SET node = %s, name = %s WHERE id = %s", (node, device, number))
    for sid, name in done.series.items():
        if sid not in done.joined_series:
            connection.execute("UPDATE series SET name = %s WHERE id = %s", (name, sid))
    touched = {known.series[sid][0] for sid in done.joined_series} | done.joined_devices.keys()
    _join_series(connection, done.joined_series, raw_from)
    _join_devices(connection, done.joined_devices)
    touched = {done.joined_devices.get(number, number) for number in touched}
    connection.execute(
        "UPDATE touched SET changed = %s, at = %s WHERE device = ANY(%s) AND day * 86400000::bigint >= %s",
        (revision, round(now * 1000), sorted(touched), raw_from),
    )
    _move_progress(connection, entry)
    put_meta(
        connection, renames.KEY, renames.encode(noted.with_one(msgspec.structs.replace(entry, at=entry.at or now)))
    )
    if units := meta(connection, changed_units.KEY):
        new = {known.device[number][0]: name for number, name in done.devices.items()}
        text = changed_units.renamed(units, new)
        if done.series:
            text = changed_units.channel_renamed(text, entry.old, entry.new)
        put_meta(connection, changed_units.KEY, text)
    connection.execute("UPDATE clock SET revision = %s, changes = changes + 1", (revision,))
    return done


def _known(connection: Connection) -> CopiedNames:
    known = CopiedNames()
    for number, node, name in connection.execute("SELECT id, node, name FROM device"):
        known.device[number] = (f"{node}/{name}",)
    for sid, *columns in connection.execute("SELECT id, device, name, unit, kind, rollover FROM series"):
        known.series[sid] = tuple(columns)
    return known


def _join_series(connection: Connection, joined: Mapping[int, int], raw_from: int) -> None:
    """Give the points of series to others: of two values at one time the one that arrived last stays."""
    for sid, other in joined.items():
        connection.execute(
            "INSERT INTO reading SELECT %s, ts, v, seq FROM reading WHERE series = %s "
            "ON CONFLICT (series, ts) DO UPDATE SET v = excluded.v, seq = excluded.seq WHERE reading.seq < excluded.seq",
            (other, sid),
        )
        connection.execute("DELETE FROM reading WHERE series = %s", (sid,))
        for table in TIERS:
            connection.execute(
                f"UPDATE {table} SET series = %s WHERE series = %s AND bucket < %s", (other, sid, raw_from)
            )
            connection.execute(f"DELETE FROM {table} WHERE series = %s", (sid,))
        connection.execute(
            "INSERT INTO replacement SELECT %s, ts, at, jump FROM replacement WHERE series = %s ON CONFLICT DO NOTHING",
            (other, sid),
        )
        connection.execute("DELETE FROM replacement WHERE series = %s", (sid,))
        connection.execute(
            "UPDATE series s SET unit = CASE WHEN s.unit = '' THEN old.unit ELSE s.unit END FROM series old "
            "WHERE s.id = %s AND old.id = %s",
            (other, sid),
        )
        connection.execute("DELETE FROM series WHERE id = %s", (sid,))


def _join_devices(connection: Connection, joined: Mapping[int, int]) -> None:
    for number, stays in joined.items():
        connection.execute("UPDATE series SET device = %s WHERE device = %s", (stays, number))
        connection.execute("UPDATE arrival SET device = %s WHERE device = %s", (stays, number))
        connection.execute(
            "INSERT INTO touched SELECT %s, day, changed, at, built FROM touched WHERE device = %s ON CONFLICT DO NOTHING",
            (stays, number),
        )
        connection.execute("DELETE FROM touched WHERE device = %s", (number,))
        connection.execute("DELETE FROM device WHERE id = %s", (number,))


def _move_progress(connection: Connection, entry: Rename) -> None:
    rows = connection.execute("SELECT producer, epoch, last, lost FROM progress").fetchall()
    known = [(unpack(producer), unpack(epoch), Progress(last, lost)) for producer, epoch, last, lost in rows]
    for old, new, epoch, progress in list(moved_progress(known, entry)):
        connection.execute(
            "INSERT INTO progress SELECT %s, epoch, %s, %s, seen FROM progress WHERE producer = %s AND epoch = %s "
            "ON CONFLICT (producer, epoch) DO UPDATE SET last = excluded.last, lost = excluded.lost, "
            "seen = greatest(progress.seen, excluded.seen)",
            (pack(new), *progress, pack(old), pack(epoch)),
        )
        connection.execute("DELETE FROM progress WHERE producer = %s AND epoch = %s", (pack(old), pack(epoch)))
