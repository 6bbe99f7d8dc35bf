"""Backups: a store copied while it is written.

A backup is a folder with the store's files as they are, what other services keep in `state/`, and backup.json with what
the files looked like when they were copied, and size and checksum of each copy. Each is copied with SQLite's online
backup, checked, made durable, and only then gets its name.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from heliograph.errors import StoreAway, StoreDamaged
from heliograph.store import schema
from services.storage.maintenance import backup_list, files, losses, node_state, staging
from services.storage.maintenance.backup_list import BackupList, Copy, FileState
from services.storage.maintenance.encryption import ENDING, Encryption

VERIFIED_BYTES = (
    1_000_000_000  # of copies that an incremental backup reads again, those first that were read longest ago
)


class BackedUp(NamedTuple):
    """What a backup did: whether each file of the store was copied, why copies were made again, the state's files.

    `before_loss` are copies that it put aside because the store has lost a part of these files, `missing` those of years
    that the store has lost as a whole.
    """

    copied: dict[str, bool]
    made_again: dict[str, str]
    state: list[str]
    before_loss: list[str]
    missing: list[str]


def back_up(
    store: Path,
    folder: Path,
    advance: staging.Advance,
    *,
    incremental: bool = False,
    state: Mapping[str, Path] | None = None,
    encryption: Encryption | None = None,
) -> BackedUp:
    """Copy the files of a store into a folder, and other files under their names in `state`.

    An incremental backup keeps copies of years that have not changed, if their size is right; of some of them, those first
    that were read longest ago, it also reads the checksum, and it makes again what is not as it was. Of a file of which storage
    reports a loss the copy from before is kept, too. Raises StoreAway if there
    is no store, StoreDamaged if a file of it, or its copy, is not sound, or a restore into it was interrupted, OSError if a write fails. Nothing that a backup
    there held before is lost then.
    """
    schema.refuse_half_restored(store)
    sources = files.store_files(store)
    if not sources:
        raise StoreAway(f"there is no store in {store}")
    folder.mkdir(parents=True, exist_ok=True)
    before = backup_list.read(folder)
    lost = losses.reported(store)
    missing = sorted(lost & before.files.keys() - {source.name for source in sources})
    kept, made_again = _kept(folder, before, sources) if incremental else ({}, {})
    after: dict[str, FileState] = {}
    staged: dict[str, Copy] = {}
    try:
        for source in sources:
            if not source.exists():
                continue  # a year that retention has just dropped
            name, seen = source.name, backup_list.state_of(source)
            if name in kept:
                advance(files.size(source))
            else:
                staging.stage(source, folder / f"{name}{staging.STAGED}", advance)
                staged[name] = backup_list.copy_of(folder / f"{name}{staging.STAGED}")
            after[name] = seen
        copies = node_state.stage(state or {}, folder, encryption)
        made = datetime.now(UTC).isoformat(timespec="seconds")
        # whenever the power fails from here on, each copy is one of two that the list knows
        backup_list.write(folder, msgspec.structs.replace(before, pending=staged, pending_state=copies))
        before_loss = losses.keep(folder, lost & staged.keys())
        staging.install(folder, staged)
        node_state.install(folder, copies)
    finally:
        staging.clean(folder)
        node_state.clean(folder)
    after |= {name: before.files[name] for name in missing}
    kept |= {name: before.copies[name] for name in missing if name in before.copies}
    for gone in set(before.files) - set(after):
        (folder / gone).unlink(missing_ok=True)  # retention dropped it
    backup_list.write(folder, BackupList(made, after, {**kept, **staged}, copies))
    copied = {name: name in staged for name in after if name not in missing}
    return BackedUp(copied, made_again, sorted(copies), before_loss, missing)


def check(folder: Path) -> dict[str, str]:
    """Return what is wrong with the files of a backup, by name: each is read as a whole. Raises StoreAway, StoreDamaged."""
    listed = backup_list.of_backup(folder)
    wrong = backup_list.wrong(folder, listed)
    for name in listed.store_copies(folder).keys() - wrong.keys():
        try:
            if why := files.why_unsound(folder / name):
                wrong[name] = why
        except (OSError, StoreDamaged) as error:
            wrong[name] = str(error)
    state = backup_list.verified(folder / node_state.FOLDER, listed.state_copies()).wrong
    return wrong | {f"{node_state.FOLDER}/{name}": why for name, why in state.items()}


def is_encrypted(folder: Path) -> bool:
    """Whether a backup has files that only a pass phrase opens; raise StoreAway, StoreDamaged."""
    return any(name.endswith(ENDING) for name in backup_list.of_backup(folder).state)


def _kept(folder: Path, before: BackupList, sources: list[Path]) -> tuple[dict[str, Copy], dict[str, str]]:
    """Return the copies of unchanged years that are as they were, and why others are not."""
    unchanged = {
        source.name: [before.copies[source.name]]
        for source in sources
        if source.match(files.HISTORY)
        and source.name in before.copies
        and before.files.get(source.name) == backup_list.state_of(source)
    }
    verified = backup_list.verified(folder, unchanged, VERIFIED_BYTES)
    return verified.good, verified.wrong
