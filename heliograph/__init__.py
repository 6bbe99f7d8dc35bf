"""What every service shares: the bus, its topics and messages, the outbox, the store, the configuration."""

__version__ = "0.1.0"
