"""gRPC-Web: the same rpcs for typed browser clients."""
