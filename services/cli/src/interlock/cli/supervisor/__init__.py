"""Runs the services as processes of this machine: for `interlock up`, and for the time of one command."""
