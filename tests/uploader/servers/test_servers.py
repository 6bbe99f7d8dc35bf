import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
STAND_INS = sorted(path.name for path in FOLDER.glob("*_server.py") if path.name != "web_server.py")


@pytest.mark.parametrize("name", STAND_INS)
def test_a_stand_in_names_what_it_was_compared_with(name: str) -> None:
    manual = ast.get_docstring(ast.parse((FOLDER / name).read_text())) or ""
    assert any(line.startswith("Compared with: ") and len(line) > 30 for line in manual.splitlines()), name
