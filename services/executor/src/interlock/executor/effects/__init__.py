"""What the executor remembers of effects: durably (`store`), while they are computed (`inflight`, `hub`)."""
