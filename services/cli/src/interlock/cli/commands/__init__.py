"""One module per command group, imported when it is used; each has an `app`."""
