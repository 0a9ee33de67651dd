"""Payloads run as real steps of a real executor: `Prepare` over gRPC, with the answer as the only witness.

One executor process per kind serves all tests of a test process; a test that changes the base gets a workspace of
its own. The facts have the names they have in `arena`, so a payload can be run by either.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from tests.support.ordinary_user import python_for, someone
from tests.support.processes import ROOT

from interlock.common.client import channel, rpc_errors
from interlock.executor.files.remove import remove_path
from interlock.executor.sandbox.base import Ending, Exceeded, StreamOutput, Usage
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import step_pb2, workspace_pb2
from interlock.v1.executor_pb2_grpc import ExecutorStub

TOKEN: Final = "test-token"
PLANTED: Final = {"PLANTED_SECRET": "s3cret-value"}
"""In the environment of every executor."""

BASE: Final = {"dir": 0, "dir/inner.txt": 6, "kept.txt": 10}
"""Size by path of everything in the base."""

_ENDINGS: Final = {
    "COMMAND_TIMED_OUT": Ending.TIMED_OUT,
    "COMMAND_LIMIT_EXCEEDED": Ending.LIMIT,
    "COMMAND_FAILED": Ending.SIGNALED,
}


@dataclass(frozen=True)
class Kind:
    """An executor: a backend, one with a runtime (`oci:runc`), and whether an ordinary user runs it."""

    backend: str
    ordinary: bool = False


class Server:
    """An executor process, and a workspace over an unchanged base."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.place = kind, Path(tempfile.mkdtemp(prefix="interlock-abuse-"))
        self.place.chmod(0o755)
        self.uid = someone() if kind.ordinary else os.geteuid()
        self.numbers = itertools.count(1)
        self.workspace = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.address = ""
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def state(self) -> Path:
        return self.place / "own" / "state"

    @property
    def log(self) -> str:
        return (self.place / "log").read_text(errors="replace")

    def _start(self) -> None:
        own = self.place / "own"
        own.mkdir()
        os.chown(own, self.uid, self.uid if self.kind.ordinary else -1)
        python = python_for(self.uid, own) if self.kind.ordinary else sys.executable
        ready = own / "ready"
        backend, _, runtime = self.kind.backend.partition(":")
        env = {
            **os.environ,
            **PLANTED,
            "HOME": str(own),
            "PYTHONPATH": os.pathsep.join(_importable(self.kind.ordinary)),
            "INTERLOCK_EXECUTOR_DIR": str(self.state),
            "INTERLOCK_EXECUTOR_ADDRESS": "127.0.0.1:0",
            "INTERLOCK_TOKEN": TOKEN,
            "INTERLOCK_SANDBOX": backend,
            "INTERLOCK_OCI_RUNTIME": runtime,
        }
        user: dict[str, Any] = (
            {"user": self.uid, "group": self.uid, "extra_groups": []} if self.kind.ordinary else {}
        )
        with open(self.place / "log", "wb") as log:
            self.process = subprocess.Popen(
                [python, "-m", "interlock.executor", "--ready-file", str(ready)],
                cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **user,
            )  # fmt: skip
        self.address = self._wait_for(ready)

    def _wait_for(self, ready: Path) -> str:
        assert self.process is not None
        end = time.monotonic() + 60
        while not (ready.exists() and (text := ready.read_text().strip())):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)
        return text

    def close(self) -> None:
        """End it, as an administrator does; it must have nothing to say about errors of its own."""
        log, code = "", None
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(60)
            log = self.log
        remove_path(self.place)
        assert "Traceback" not in log, log
        assert code in (None, 0) or not self.address, log


def _importable(ordinary: bool) -> list[str]:
    """What another interpreter may look at: not the standard library of this one."""
    found = [path for path in sys.path if path]
    return [path for path in found if Path(path).is_relative_to(ROOT)] if ordinary else found


@dataclass(frozen=True)
class Ended:
    """What the response says of a step's end; the names are those of SandboxResult."""

    ending: Ending
    exit_code: int | None
    signal: int
    exceeded: Exceeded | None
    usage: Usage
    stdout: StreamOutput
    stderr: StreamOutput
    enforced: Mapping[str, str]
    tree: str
    changes: Mapping[str, str]
    """Kind of change (`ADDED`, …) by path."""


@dataclass
class ServiceArena:
    """A workspace of an executor; every payload gets a fresh fork of its base."""

    server: Server
    stub: Any
    root: Path
    sandbox: Any = None
    workspace: str = ""
    own: Path | None = None
    keys: list[pb.EffectKey] = field(default_factory=list)

    async def __aenter__(self) -> ServiceArena:
        self.sandbox = Described(await self.call("GetExecutorInfo", pb.GetExecutorInfoRequest()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for key in self.keys:
            await self.call("Discard", pb.DiscardRequest(key=key))

    async def call(self, method: str, request: Any) -> Any:
        with rpc_errors("executor"):
            return await getattr(self.stub, method)(request)

    @property
    def base(self) -> Path:
        """The workspace's directory; asked for before the first payload, it is this test's own, to be changed."""
        if self.own is None:
            self.own = _make_base(self.root / "base", self.server.uid)
            assert not self.workspace, "a payload has run on the common base"
        return self.own

    def give(self, path: Path) -> None:
        """To the executor's user, with everything below."""
        _give(path, self.server.uid)

    async def _workspace(self) -> str:
        if self.workspace:
            return self.workspace
        if self.own is None and self.server.workspace:
            self.workspace = self.server.workspace
            return self.workspace
        live = self.own or _make_base(self.server.place / "base", self.server.uid)
        source = workspace_pb2.WorkspaceSource(directory=workspace_pb2.DirectorySource(path=str(live)))
        made = await self.call("CreateWorkspace", pb.CreateWorkspaceRequest(source=source))
        self.workspace = made.workspace.workspace_id
        if self.own is None:
            self.server.workspace = self.workspace
        return self.workspace

    async def run(
        self,
        command: str = "",
        *,
        argv: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        working_dir: str = "",
        refused: str = "",
        **limits: int,
    ) -> Ended:
        """Run a step; every exit code is one that is expected, so that its result is captured.

        `refused`: the reason for which that is expected to be refused.
        """
        asked = step_pb2.RunCommandInput(
            working_dir=working_dir, env=env or {}, allowed_exit_codes=range(1, 256)
        )
        if argv:
            asked.argv.items.extend(argv)
        else:
            asked.command = command
        key = pb.EffectKey(run_id=f"run-abuse-{os.getpid()}", step=next(self.server.numbers), attempt=1)
        request = pb.PrepareRequest(
            key=key,
            workspace_id=await self._workspace(),
            action=pb.Action(run_command=asked),
            limits=_limits(**{"wall_us": 30_000_000, **limits}),
        )
        answer = await self.call("Prepare", request)
        self.keys.append(key)
        ended = _ended(answer)
        left = "" if answer.failure.reason in _ENDINGS else answer.failure.reason
        assert left == refused, answer.failure
        return ended

    async def python(self, code: str, *arguments: str, **options: Any) -> Ended:
        """A payload in Python, by the interpreter the sandbox sees."""
        return await self.run(argv=("/usr/bin/python3", "-I", "-c", code, *arguments), **options)

    async def listed(self, result: Ended) -> dict[str, int]:
        """Size by path of everything in a result."""
        request = pb.ListFilesRequest(workspace_id=self.workspace, tree=result.tree)
        return {each.path: each.size for each in (await self.call("ListFiles", request)).entries}


class Described:
    """An executor's sandbox, as it tells of it."""

    def __init__(self, info: pb.GetExecutorInfoResponse) -> None:
        self.tier = info.sandbox


def _ended(answer: pb.PrepareResponse) -> Ended:
    effect, failure = answer.effect, answer.failure
    told = failure.metadata
    ending = _ENDINGS.get(failure.reason, Ending.EXITED)
    exceeded = None
    if "limit" in told:
        exceeded = Exceeded(told["limit"], int(told["allowed"]), int(told["measured"]))
    usage = effect.usage
    return Ended(
        ending,
        effect.exit_code if effect.HasField("exit_code") else None,
        effect.signal,
        exceeded,
        Usage(_us(usage.wall), _us(usage.user), _us(usage.system), usage.max_rss_bytes, 0),
        _stream(effect.stdout),
        _stream(effect.stderr),
        {told["limit"]: told["enforced_by"]} if "limit" in told else {},
        effect.result_tree,
        {each.path: step_pb2.ChangeKind.Name(each.kind)[12:] for each in effect.changes},
    )


def _stream(told: step_pb2.Output) -> StreamOutput:
    return StreamOutput(told.digest, told.total_bytes, told.head, told.tail)


def _us(told: Duration) -> int:
    return told.seconds * 1_000_000 + told.nanos // 1000


def _limits(**asked: int) -> step_pb2.Limits:
    times = {name: asked.pop(f"{name}_us") for name in ("wall", "cpu") if f"{name}_us" in asked}
    limits = step_pb2.Limits(**asked)  # type: ignore[arg-type]
    for name, value in times.items():
        getattr(limits, name).FromMicroseconds(value)
    return limits


def _make_base(path: Path, uid: int) -> Path:
    (path / "dir").mkdir(parents=True)
    (path / "kept.txt").write_text("as it was\n")
    (path / "dir" / "inner.txt").write_text("inner\n")
    _give(path, uid)
    return path


def _give(path: Path, uid: int) -> None:
    for directory, names, files in os.walk(path):
        for name in (".", *names, *files):
            os.lchown(os.path.join(directory, name), uid, uid)


def servers() -> Iterator[dict[Kind, Server]]:
    """Executors by kind, to be filled; all are ended with the generator."""
    found: dict[Kind, Server] = {}
    try:
        yield found
    finally:
        for server in found.values():
            server.close()


def open_channel(server: Server) -> Any:
    """A channel to it, to be entered."""
    return channel(server.address, TOKEN, timeout=90)


__all__ = ["Ended", "ExecutorStub", "Kind", "Server", "ServiceArena", "open_channel", "servers"]
