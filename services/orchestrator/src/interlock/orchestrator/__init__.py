"""The orchestrator: owns runs, steps, approvals and the journal; drives steps."""
