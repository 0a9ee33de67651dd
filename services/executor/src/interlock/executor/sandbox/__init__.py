"""Running a step's command where it can do no harm: see `base` for the interface, `bubblewrap` for the default."""
