"""Channels that are calculated from others, published as devices of their own."""
