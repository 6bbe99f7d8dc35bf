from pathlib import Path

import pytest

from tests.sensor_reader.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)
