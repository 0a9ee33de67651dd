"""Runs between the pure state machine and the store: reading a run by folding, changing it by deciding."""
