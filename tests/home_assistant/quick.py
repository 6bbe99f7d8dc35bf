"""The service with short delays: python -m tests.home_assistant.quick config.toml."""

from functools import partial

from heliograph.service import run
from services.home_assistant.announcer import main
from services.home_assistant.options import HomeAssistant

run("home_assistant", HomeAssistant, partial(main, jitter_seconds=0.2, removal_seconds=0.5, orphan_seconds=1.0))
