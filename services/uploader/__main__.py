"""Run with: python -m services.uploader config.toml."""

from heliograph.service import run
from services.uploader.settings import Uploader
from services.uploader.uploader import main

run("uploader", Uploader, main, uses_store=True)
