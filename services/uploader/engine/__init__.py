"""From the store to one target: what is sent next, what its answers mean, what is saved on disk."""
