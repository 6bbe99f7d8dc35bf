import importlib
import os

from heliograph.store import blocks, vectors


def test_the_kernels_are_numpys_unless_this_run_has_to_do_without() -> None:
    kind = "plain" if "no_numpy" in os.environ.get("PYTHONPATH", "") else "fast"
    assert vectors.ops is importlib.import_module(f"heliograph.store.{kind}_vectors")
    assert blocks.kernel is importlib.import_module(f"heliograph.store.{kind}_blocks")
