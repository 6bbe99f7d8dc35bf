"""Targets that end with the test."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

import msgspec
import pytest

from services.uploader import targets
from services.uploader.target import MappedChannel, Target
from tests.uploader.servers.rows import context

T = TypeVar("T")


class OpenTargets:
    """The targets of a test."""

    def __init__(self) -> None:
        self._open: list[Target] = []

    def add(self, wanted: type[T], options: Mapping[str, object], *channels: MappedChannel) -> T:
        """Open a target, which is to be of this class."""
        kind = targets.load(str(options["kind"]))
        target = msgspec.convert(options, kind).open(context(*channels))
        self._open.append(target)
        assert isinstance(target, wanted)
        return target

    def close(self) -> None:
        for target in self._open:
            target.close()


@pytest.fixture
def open_targets() -> Iterator[OpenTargets]:
    opened = OpenTargets()
    yield opened
    opened.close()
