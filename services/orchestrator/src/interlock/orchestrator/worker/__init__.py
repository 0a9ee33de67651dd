"""Performs what the state machine wants done, and feeds the results back to it."""
