"""Store what the producers' journals say, exactly once, and tell them how far it is safe."""
