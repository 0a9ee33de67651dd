"""What an effect is, and which digest it has: pure."""
