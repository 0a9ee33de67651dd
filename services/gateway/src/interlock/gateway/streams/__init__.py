"""Server-streaming rpcs as Server-Sent Events, JSON lines or bytes."""
