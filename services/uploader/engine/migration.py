"""Brings an uploader.db of an earlier version to the present one: the names that it used, and what they are now.

Version 1 (before the first release) kept the options of added targets, positions and dead letters under other names.
"""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

OPTIONS = {
    "active": "enabled",
    "without": "exclude",
    "called": "name_template",
    "stamp": "timestamp",
    "rows": "batch_size",
    "bytes": "batch_bytes",
    "every": "min_interval",
    "per_hour": "max_requests_per_hour",
}
OPTIONS_OF_A_KIND: Mapping[str, Mapping[str, str]] = {
    "file": {"keep": "max_files"},
    "http": {"success": "success_codes", "answer": "success_pattern", "refusal": "reject_pattern"},
    "mqtt": {"client": "client_id"},
    "postgresql": {"create": "create_table"},
}
STATE = {
    "begun": "started",
    "born": "first_seen",
    "start": "start_time",
    "late": "late_intervals",
    "seen": "seen_cursor",
    "devices": "newest_by_device",
    "doubt": "in_flight",
    "passed_over": "skipped",
    "success": "last_success",
}
IN_FLIGHT = {"sort": "kind"}
BATCH_KINDS = {"letters": "dead_letters"}


def to_version_2(db: sqlite3.Connection) -> None:
    """Rename tables, columns and the members of what is kept as JSON, in one transaction; raise sqlite3.Error."""
    db.execute("BEGIN IMMEDIATE")
    with db:  # commits, or rolls back
        db.execute("ALTER TABLE target RENAME COLUMN known TO state")
        db.execute("ALTER TABLE letter RENAME TO dead_letter")
        db.execute("ALTER TABLE dead_letter RENAME COLUMN why TO reason")
        db.execute("ALTER TABLE dead_letter RENAME COLUMN again TO retry")
        db.execute("DROP INDEX letter_target")
        db.execute("CREATE INDEX dead_letter_target ON dead_letter (target, id)")
        for name, options, state in db.execute("SELECT name, options, state FROM target").fetchall():
            db.execute(
                "UPDATE target SET options = ?, state = ? WHERE name = ?",
                (_translated(options, _options), _translated(state, _state), name),
            )
        db.execute("PRAGMA user_version = 2")


def _translated(blob: bytes | None, translate: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes | None:
    return msgspec.json.encode(translate(msgspec.json.decode(blob, type=dict[str, Any]))) if blob else blob


def _options(options: dict[str, Any]) -> dict[str, Any]:
    return _renamed(options, {**OPTIONS, **OPTIONS_OF_A_KIND.get(str(options.get("kind")), {})})


def _state(state: dict[str, Any]) -> dict[str, Any]:
    renamed = _renamed(state, STATE)
    if in_flight := renamed.get("in_flight"):
        in_flight = _renamed(in_flight, IN_FLIGHT)
        renamed["in_flight"] = {**in_flight, "kind": BATCH_KINDS.get(in_flight["kind"], in_flight["kind"])}
    return renamed


def _renamed(members: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in members.items()}
