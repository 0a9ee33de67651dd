"""The planner: turns goals into plans and answers questions, through a model gateway. No database, no file access."""
