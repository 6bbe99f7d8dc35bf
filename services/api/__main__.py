"""Serve readings over REST and WebSocket, and the dashboard."""

from heliograph.service import run
from services.api.server import Api, main

run("api", Api, main, uses_store=True)
