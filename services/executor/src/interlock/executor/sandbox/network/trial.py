"""Whether steps can have network on this machine: found out by one that asks for no host, when it is first asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from interlock.common.errors import InterlockError
from interlock.executor.sandbox.base import Limits, Sandbox, SandboxSpec
from interlock.executor.sandbox.network.config import NetworkConfig
from interlock.executor.sandbox.network.grant import Grant
from interlock.executor.sandbox.network.rules import Rules

_LIMITS: Final = Limits(wall_us=20_000_000, memory_bytes=256 << 20)


class NetworkTrial:
    """One executor's. What works is not tried again; what does not is, at each question."""

    def __init__(self, network: NetworkConfig, sandbox: Sandbox) -> None:
        self._network, self._sandbox = network, sandbox
        self._works, self._one = False, asyncio.Lock()

    async def found(self) -> NetworkConfig:
        """The configuration, with what stands in the way in `lacking`. The first time costs a step: some 0.3 s."""
        if not self._network.on:
            return self._network
        async with self._one:
            lacking = "" if self._works else await self._lacking()
            self._works = not lacking
        return replace(self._network, lacking=lacking)

    async def _lacking(self) -> str:
        if not self._sandbox.capabilities.network:
            return f"the sandbox in force, {self._sandbox.tier.backend}, can give it to none"
        spec = SandboxSpec(command="true", limits=_LIMITS, network=Grant(Rules(())))
        try:
            result = await self._sandbox.run(spec)
        except InterlockError as error:
            return error.message.rstrip(".")
        return result.network.problem if result.network is not None else "it has no record"
