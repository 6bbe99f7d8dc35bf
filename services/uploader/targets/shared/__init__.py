"""What several targets need: HTTP, line protocol, numbers, fields with fixed names."""
