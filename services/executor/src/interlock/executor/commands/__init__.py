"""Use cases that change something. One a file."""
