"""`heliograph doctor`: what is wrong with a node and its machine."""
