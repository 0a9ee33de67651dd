"""Whether steps can have network on this machine: found out at the start by one that asks for no host."""

from __future__ import annotations

from dataclasses import replace

from interlock.common.errors import InterlockError
from interlock.executor.sandbox.base import Limits, Sandbox, SandboxSpec
from interlock.executor.sandbox.network.config import NetworkConfig
from interlock.executor.sandbox.network.grant import Grant
from interlock.executor.sandbox.network.rules import Rules

_LIMITS = Limits(wall_us=20_000_000, memory_bytes=256 << 20)


async def tried(network: NetworkConfig, sandbox: Sandbox) -> NetworkConfig:
    """The same, with what stands in the way in `lacking`. Costs a step and a proxy: some 0.3 s."""
    if not network.on:
        return network
    if not sandbox.capabilities.network:
        return replace(network, lacking=f"the sandbox in force, {sandbox.tier.backend}, can give it to none")
    try:
        result = await sandbox.run(SandboxSpec(command="true", limits=_LIMITS, network=Grant(Rules(()))))
    except InterlockError as error:
        return replace(network, lacking=error.message.rstrip("."))
    problem = result.network.problem if result.network is not None else "it has no record"
    return replace(network, lacking=problem)
