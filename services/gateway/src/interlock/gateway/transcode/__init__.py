"""HTTP requests to messages, and messages to JSON."""
