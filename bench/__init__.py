"""Interlock beside other durable engines, on one machine, one PostgreSQL, in one run: `python -m bench`."""
