"""What two or more Interlock services share: errors, ids, clocks, digests, configuration and gRPC wiring."""
