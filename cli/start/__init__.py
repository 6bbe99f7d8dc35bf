"""`heliograph start`: a whole node as processes on this machine."""
