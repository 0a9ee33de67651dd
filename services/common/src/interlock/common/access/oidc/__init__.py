"""Tokens of an OpenID provider: its keys, what is checked, and who their holders are here."""
