"""Lines and values: what comes in at a port, as text and numbers, before a format makes readings of it."""
