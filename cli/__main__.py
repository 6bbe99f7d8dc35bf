"""`python -m cli` is `heliograph`."""

from cli.main import run

run()
