"""What all families parse with: payloads, JSON paths, units and timestamps, without trusting any of it."""
