"""What callers can ask for that changes something: one use case a file."""
