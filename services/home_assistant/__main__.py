"""Run with: python -m services.home_assistant config.toml."""

from heliograph.service import run
from services.home_assistant.announcer import main
from services.home_assistant.options import HomeAssistant

run("home_assistant", HomeAssistant, main)
