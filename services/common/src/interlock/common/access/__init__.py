"""Who may call what: roles of rpcs, issued tokens, and the record of refused calls."""
