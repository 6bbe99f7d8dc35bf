"""Readings over HTTP: which clients may send them, the formats they send, and the way to the outbox."""
