"""Readings that come in over HTTP: who may send them, what they say, and how they reach the store."""
