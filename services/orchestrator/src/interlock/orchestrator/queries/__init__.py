"""What callers can ask for that changes nothing: one subject a file."""
