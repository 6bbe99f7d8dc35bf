"""Pulse counters on GPIO lines."""
