"""A development authority, and the certificates that it makes for the services and for people's programs."""
