"""The connection: limits, bodies, responses, and who may come in."""
