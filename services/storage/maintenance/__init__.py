"""A store as a whole: backed up, copied into another one, checked."""
