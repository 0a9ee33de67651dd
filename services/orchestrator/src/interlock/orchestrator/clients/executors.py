"""All executors: each workspace lives on one of them, and its calls go there.

Where a workspace lives is asked, not recorded: an executor's address may change, what is in its directory does not.
The answer is remembered while this process lives. With one executor nothing is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.clients.executor import ExecutorClient
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import workspace_pb2

_ASK_SECONDS: Final = 10.0
_REMEMBERED: Final = 100_000
_AWAY: Final = frozenset({Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED})

Answer = workspace_pb2.Workspace | InterlockError


class Executors:
    """Executors by address, at least one. Every call raises what its executor answers, and what `at` raises."""

    def __init__(self, clients: Mapping[str, ExecutorClient]) -> None:
        self._clients = dict(clients)
        self._homes: dict[str, str] = {}

    @property
    def clients(self) -> Mapping[str, ExecutorClient]:
        """Each, by its address."""
        return self._clients

    async def close(self) -> None:
        """Ends the sessions."""
        for client in self._clients.values():
            await client.session.close()

    async def address(self, workspace_id: str) -> str:
        """The address of the executor that has the workspace.

        Raises WORKSPACE_NOT_FOUND when every one says that it has not; UNAVAILABLE when none of those that answer has
        it and others do not answer; WORKSPACE_EXISTS when two have it, as after a copy of an executor's directory.
        """
        if len(self._clients) == 1:
            return next(iter(self._clients))
        known = self._homes.get(workspace_id)
        return known if known is not None else (await self._find(workspace_id))[0]

    async def at(self, workspace_id: str) -> ExecutorClient:
        """The executor that has the workspace. Raises as `address` does."""
        return self._clients[await self.address(workspace_id)]

    async def workspace(self, workspace_id: str, *, seconds: float | None = None) -> workspace_pb2.Workspace:
        """As ExecutorClient.workspace; it is looked for again where it is no longer where it was."""
        if workspace_id in self._homes or len(self._clients) == 1:
            try:
                return await (await self.at(workspace_id)).workspace(workspace_id, seconds=seconds)
            except InterlockError as error:
                known = (
                    self._homes.pop(workspace_id, None)
                    if error.reason is Reason.WORKSPACE_NOT_FOUND
                    else None
                )
                if known is None:
                    raise
        return (await self._find(workspace_id, seconds))[1]

    async def files(self, workspace_id: str, limit: int) -> list[workspace_pb2.FileEntry]:
        """As ExecutorClient.files."""
        return await (await self.at(workspace_id)).files(workspace_id, limit)

    async def read(self, workspace_id: str, path: str, limit: int) -> bytes:
        """As ExecutorClient.read."""
        return await (await self.at(workspace_id)).read(workspace_id, path, limit)

    async def restore(self, request: pb.RestoreTreeRequest) -> pb.RestoreTreeResponse:
        """As ExecutorClient.restore."""
        return await (await self.at(request.workspace_id)).restore(request)

    async def revert(self, request: pb.RevertTreeRequest) -> pb.RevertTreeResponse:
        """As ExecutorClient.revert."""
        return await (await self.at(request.workspace_id)).revert(request)

    async def compare(self, request: pb.CompareEffectsRequest) -> pb.CompareEffectsResponse:
        """As ExecutorClient.compare."""
        return await (await self.at(request.workspace_id)).compare(request)

    async def step(self, workspace_id: str, kind: str, request: Any) -> Any:
        """A call on the session stream of the workspace's executor."""
        return await (await self.at(workspace_id)).step(kind, request)

    async def _find(
        self, workspace_id: str, seconds: float | None = None
    ) -> tuple[str, workspace_pb2.Workspace]:
        wait = _ASK_SECONDS if seconds is None else seconds
        answers = await asyncio.gather(
            *(_ask(client, workspace_id, wait) for client in self._clients.values())
        )
        address = place(workspace_id, list(zip(self._clients, answers, strict=True)))
        if len(self._homes) >= _REMEMBERED:  # they are found again
            self._homes.clear()
        self._homes[workspace_id] = address
        found = answers[list(self._clients).index(address)]
        assert isinstance(found, workspace_pb2.Workspace)
        return address, found


def place(workspace_id: str, answers: Sequence[tuple[str, Answer]]) -> str:
    """The address of the one that has the workspace, by what each answered. Raises as Executors.address does."""
    have = [address for address, answer in answers if not isinstance(answer, InterlockError)]
    if len(have) > 1:
        raise InterlockError(
            Reason.WORKSPACE_EXISTS,
            f"Workspace {workspace_id} is on more than one executor: {', '.join(have)}.",
            field="workspace_id",
            fix="Stop the executor that was started on a copy of another one's directory.",
            metadata={"workspace_id": workspace_id},
        )
    if have:
        return have[0]
    failed = [(address, answer) for address, answer in answers if isinstance(answer, InterlockError)]
    away = [address for address, error in failed if error.reason in _AWAY]
    if away:
        raise InterlockError(
            Reason.UNAVAILABLE,
            f"Workspace {workspace_id} is on none of the executors that answer; {', '.join(away)} does not answer.",
            fix="Start that executor; what needs it waits.",
        )
    odd = [error for _, error in failed if error.reason is not Reason.WORKSPACE_NOT_FOUND]
    raise (odd or [error for _, error in failed])[0]


async def _ask(client: ExecutorClient, workspace_id: str, seconds: float) -> Answer:
    try:
        return await client.workspace(workspace_id, seconds=seconds)
    except InterlockError as error:
        return error
