"""Carrying out again what a run did, and comparing it with what was recorded."""
