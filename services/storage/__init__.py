"""Store the readings of the producers' journals, exactly once, and report the progress to them."""
