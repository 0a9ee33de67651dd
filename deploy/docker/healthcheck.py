"""`healthcheck.py [--http] ADDRESS`: exit code 0 when the service there says that it serves.

By the gRPC health check, with the service's own certificate where it has one, or with `--http` by `GET /healthz`.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_SECONDS = 3


def main() -> int:
    """Asks once; anything but SERVING is a failure."""
    return by_http(sys.argv[2]) if sys.argv[1] == "--http" else by_grpc(sys.argv[1])


def by_http(address: str) -> int:
    """Asks the gateway."""
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS)
    if os.environ.get("INTERLOCK_GATEWAY_TLS_CERT"):
        # Only whether it answers is asked, and nothing is told: its certificate need not be for this address.
        unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(address, timeout=TIMEOUT_SECONDS, context=unchecked)
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
    with channel_to(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            sys.stderr.write(f"{address}: {error.code().name}\n")
            return 1
    return 0 if reply.status == health_pb2.HealthCheckResponse.SERVING else 1


def channel_to(address: str) -> grpc.Channel:
    """With TLS where the service has it: its own certificate is then shown on both sides."""
    files = [os.environ.get(f"INTERLOCK_TLS_{name}", "") for name in ("CA", "KEY", "CERT")]
    if not all(files):
        return grpc.insecure_channel(address)
    credentials = grpc.ssl_channel_credentials(*(Path(name).read_bytes() for name in files))
    name = address.partition(":")[0]
    return grpc.secure_channel(address, credentials, [("grpc.ssl_target_name_override", name)])


if __name__ == "__main__":
    sys.exit(main())
