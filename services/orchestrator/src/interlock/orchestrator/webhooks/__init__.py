"""Webhooks: what happens to approvals, posted to URLs, signed, in order per run, until it arrives or is given up."""
