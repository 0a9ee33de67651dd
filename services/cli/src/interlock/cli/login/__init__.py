"""Logging in at an OpenID provider with a browser."""
