"""Wiring: configuration to a running service."""

from __future__ import annotations

import asyncio

from interlock.approval.config import Config
from interlock.approval.feed import Feed
from interlock.approval.hub import Hub, Limits
from interlock.approval.orchestrator import RETRIED, GrpcOrchestrator
from interlock.approval.queries.subscribe import Subscriptions
from interlock.approval.service import ApprovalService
from interlock.approval.shares import Shares
from interlock.approval.standing import Standing
from interlock.common.access.scope import Open
from interlock.common.client import channel
from interlock.common.clock import SystemClock
from interlock.common.health import Health
from interlock.common.ids import UlidIds
from interlock.common.server import ServerSpec
from interlock.v1 import approval_pb2_grpc

SERVICE = "interlock.v1.Approval"


def build(config: Config) -> ServerSpec:
    """The service as `interlock.common.server` runs it. Call it inside the event loop."""
    clock = SystemClock()
    ids = UlidIds(clock)
    upstream = channel(config.orchestrator, config.token, retry=RETRIED, service="orchestrator")
    orchestrator = GrpcOrchestrator(upstream)
    health = Health()
    limits = Limits(log_entries=config.log_entries)
    hub = Hub(ids, limits)
    feed = Feed(hub, orchestrator, health.set)
    subscriptions = Subscriptions(hub, orchestrator, heartbeat_seconds=config.heartbeat_seconds)
    shares = Shares(config.subscriptions_each, "subscriptions")
    standing = Standing(hub, orchestrator, seconds=config.standing_seconds)
    following: list[asyncio.Task[None]] = []

    async def start() -> None:
        await health.set(False)
        following.append(asyncio.create_task(feed.run(), name="approval-feed"))
        following.append(asyncio.create_task(standing.run(), name="approval-standing"))

    async def drain() -> None:
        hub.close()

    async def stop() -> None:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        await upstream.close()

    return ServerSpec(
        name="approval",
        address=config.address,
        services=[
            (
                ApprovalService(orchestrator, hub, subscriptions, shares, clock, ids),
                approval_pb2_grpc.add_ApprovalServicer_to_server,
                SERVICE,
            )
        ],
        token=config.token,
        orchestrator=config.orchestrator,
        scope=Open(),
        on_start=start,
        on_drain=drain,
        on_stop=stop,
        grace_seconds=config.grace_seconds,
        max_concurrent_rpcs=limits.subscribers + 4096,
        untraced=frozenset({f"{SERVICE}/Subscribe"}),
        ready_file=config.ready_file,
        ready_fd=config.ready_fd,
        health=health,
    )
