"""To the wire: what this executor is."""

from __future__ import annotations

from interlock.executor.convert.effects import limits_message, sandbox
from interlock.executor.convert.text import duration
from interlock.executor.domain.limits import MAXIMUM_LIMITS, Limits
from interlock.executor.sandbox.base import Probe
from interlock.v1 import executor_pb2


def info_response(
    probe: Probe, version: str, defaults: Limits, heartbeat: float
) -> executor_pb2.GetExecutorInfoResponse:
    """The self-test's findings, and limits."""
    found = [
        executor_pb2.ProbeResult(
            name=check.name, available=check.ok, detail=" ".join(filter(None, (check.detail, check.fix)))
        )
        for check in probe.checks
    ]
    return executor_pb2.GetExecutorInfoResponse(
        version=version,
        sandbox=sandbox(probe.tier),
        probes=found,
        default_limits=limits_message(defaults),
        maximum_limits=limits_message(MAXIMUM_LIMITS),
        output_cap_bytes=defaults.kept_bytes,
        heartbeat_interval=duration(int(heartbeat * 1_000_000)),
    )
