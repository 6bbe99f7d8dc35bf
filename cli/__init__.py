"""The command `heliograph`: starts a node, and looks after one that runs."""
