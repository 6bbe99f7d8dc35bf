"""`heliograph store`: the commands, what they ask for and what they print."""
