"""How this repository is set up, started, checked and tested."""
