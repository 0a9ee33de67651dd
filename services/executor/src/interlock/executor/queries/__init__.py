"""Use cases that only look. One a file."""
