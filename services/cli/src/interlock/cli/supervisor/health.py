"""Asks a service whether it serves (`grpc.health.v1`)."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from interlock.common.client import channel
from interlock.common.tls import TlsFiles


async def is_serving(
    address: str, token: str = "", seconds: float = 2.0, *, service: str = "", tls: TlsFiles | None = None
) -> bool:
    """Whether the service at this address answers SERVING within a time."""
    opened = channel(address, token, service=service, tls=tls)
    try:
        request = health_pb2.HealthCheckRequest()
        answer = await health_pb2_grpc.HealthStub(opened).Check(request, timeout=seconds)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
    except grpc.aio.AioRpcError:
        return False
    finally:
        await opened.close(None)
