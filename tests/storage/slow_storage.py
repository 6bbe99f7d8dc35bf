"""Storage with a store that takes a second to open. Run with: python -m tests.storage.slow_storage FILE."""

import runpy
import time
from typing import Any
from unittest import mock

from heliograph.store import open_writer
from heliograph.store.interface import Writer
from services.storage import storage


def open_slowly(*location: Any, **options: Any) -> Writer:
    """Give the broker time to send what it has kept."""
    time.sleep(1)
    return open_writer(*location, **options)


if __name__ == "__main__":
    with mock.patch.object(storage, "open_writer", open_slowly):
        runpy.run_module("services.storage", run_name="__main__", alter_sys=True)
