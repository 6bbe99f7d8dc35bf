"""The sections of docs/targets.md, which are the docstrings of the targets."""

import ast
from collections.abc import Iterator
from inspect import cleandoc

from services.uploader import targets
from tests.lists import ROOT, Listing


def lists() -> Iterator[Listing]:
    lines = [line for kind in targets.known() for line in ("", f"## {kind}", "", *manual(kind).split("\n"))]
    yield Listing(
        "docs/targets.md",
        "<!-- `python -m tests.lists` writes what follows from the docstrings in services/uploader/targets/. -->",
        "<!-- end -->",
        [*lines, ""],
    )


def manual(kind: str) -> str:
    """Return the manual of a type of target, which is not imported for that."""
    folder = ROOT / "services/uploader/targets"
    path = folder / f"{kind}.py"
    tree = ast.parse((path if path.exists() else folder / kind / "__init__.py").read_text())
    return cleandoc(ast.get_docstring(tree, clean=False) or "")
