"""What must stay true of a world whatever it is sent, and what keeps that away from the machine of the tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
from tests.support.fuzz.calls import TRACEBACK
from tests.support.fuzz.world import World
from tests.support.installation import SERVICES
from tests.support.trees import read_tree

from interlock.v1 import executor_pb2 as ex
from interlock.v1 import fork_pb2
from interlock.v1 import orchestrator_pb2 as o

GROWTH_BYTES = 200 * 1024 * 1024
ABSENT = "/interlock-escaped"


class Laws:
    """Remembers what nothing may change, and how much memory everything takes; `unharmed` looks at it again."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.canaries = world.up.home / "canaries"
        self.canaries.mkdir()
        for name in ("a.txt", "src", "new.txt"):
            (self.canaries / name).write_text("canary\n")
        self.bystander = self.world.workspace("bystander")
        for values in self.world.known.values():
            values[:] = [v for v in values if v not in (self.bystander.workspace_id, self.bystander.path)]
        self.world.seeds["CreateWorkspace"].pop()
        self.still = self._still()
        self.pids = {name: self.world.up.pid(name) for name in SERVICES}
        self.memory = self._memory()
        self.outside = set(os.listdir("/")) | set(os.listdir("/etc"))

    def _still(self) -> Any:
        return read_tree(self.canaries), read_tree(Path(self.bystander.path)), self._head()

    def _head(self) -> Any:
        request = ex.GetWorkspaceRequest(workspace_id=self.bystander.workspace_id)
        return self.world.call("GetWorkspace", request).answers[0].workspace

    def _memory(self) -> dict[str, int]:
        return {name: psutil.Process(pid).memory_info().rss for name, pid in self.pids.items()}

    def unharmed(self) -> None:
        """Fails when a service died, is ill, logged a traceback or grew, or when anything else was changed."""
        assert {name: self.world.up.pid(name) for name in SERVICES} == self.pids, "a service died"
        assert self.world.caller.serving() == dict.fromkeys(SERVICES, True)
        for name in SERVICES:
            log = self.world.up.log(name)
            assert TRACEBACK not in log, _around(log, TRACEBACK)
            assert '"level":"error"' not in log.replace(" ", ""), _around(
                log.replace(" ", ""), '"level":"error"'
            )
        grown = {name: now - self.memory[name] for name, now in self._memory().items()}
        assert max(grown.values()) < GROWTH_BYTES, grown
        assert self._still() == self.still
        assert not os.path.lexists(ABSENT)
        assert set(os.listdir("/")) | set(os.listdir("/etc")) == self.outside
        self.no_step_failed_by_a_defect()

    def no_step_failed_by_a_defect(self) -> None:
        """What went wrong behind an answer that was OK."""
        token = ""
        while True:
            page = self.world.call("ListRuns", o.ListRunsRequest(page_size=200, page_token=token)).answers[0]
            for run in page.runs:
                failures = [run.failure, *(step.failure for step in run.steps)]
                assert all(failure.reason != "INTERNAL" for failure in failures), run
            token = page.next_page_token
            if not token:
                return


def _around(log: str, what: str) -> str:
    at = log.find(what)
    return log[max(0, at - 3000) : at + 3000]


def tame(world: World, message: Any) -> Any:
    """Keeps what a caller may rightly ask for away from the machine that the tests run on.

    A caller names the directory, archive or place of a new workspace itself, and a repository anywhere.
    """
    if isinstance(message, fork_pb2.ForkRunRequest):
        message.workspace_path = _place(world, message.workspace_path)
    if isinstance(message, ex.CreateWorkspaceRequest):
        source = message.source
        kind = source.WhichOneof("source")
        if kind == "git":
            url = source.git.url
            if url not in world.known.get("url", ()) and ("://" in url or "@" in url or url.startswith("/")):
                source.git.url = "x" + url
        elif kind:
            getattr(source, kind).path = _place(world, getattr(source, kind).path)
    return message


def _place(world: World, path: str) -> str:
    if not path.startswith("/") or path.startswith((str(world.places), "/proc/")):
        return path
    return f"{world.places}/{path.replace('..', '.')}"
