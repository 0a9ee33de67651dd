"""The HTTP front of Interlock: JSON, streams and gRPC-Web, derived from the protos."""
