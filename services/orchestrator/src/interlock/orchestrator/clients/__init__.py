"""The services that the orchestrator calls: the executor and the planner."""
