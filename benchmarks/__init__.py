"""What Heliograph costs, measured beside something that anyone can repeat."""
