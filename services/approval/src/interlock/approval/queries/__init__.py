"""What only reads: one use case a file."""
