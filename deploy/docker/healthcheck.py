"""`healthcheck.py [--http] ADDRESS`: exit code 0 when the service there says that it serves.

By the gRPC health check, or with `--http` by `GET /healthz`.
"""

from __future__ import annotations

import http.client
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_SECONDS = 3


def main() -> int:
    """Asks once; anything but SERVING is a failure."""
    return by_http(sys.argv[2]) if sys.argv[1] == "--http" else by_grpc(sys.argv[1])


def by_http(address: str) -> int:
    """Asks the gateway."""
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return 0 if connection.getresponse().status == http.client.OK else 1
    except OSError as error:
        sys.stderr.write(f"{address}: {error}\n")
        return 1
    finally:
        connection.close()


def by_grpc(address: str) -> int:
    """Asks any other service."""
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            sys.stderr.write(f"{address}: {error.code().name}\n")
            return 1
    return 0 if reply.status == health_pb2.HealthCheckResponse.SERVING else 1


if __name__ == "__main__":
    sys.exit(main())
