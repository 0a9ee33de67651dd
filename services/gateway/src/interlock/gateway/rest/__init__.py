"""The routes of agent runs: a facade over runs, steps and approvals."""
