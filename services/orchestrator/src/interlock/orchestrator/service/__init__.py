"""The gRPC services that the orchestrator serves: Orchestrator and Access."""
