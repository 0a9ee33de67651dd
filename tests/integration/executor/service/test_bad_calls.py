"""Whatever is sent, the executor answers with a documented reason, stays up, and confines."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import DecodeError

from interlock.common.errors import InterlockError, Reason
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import step_pb2

PATHS = [
    "a.txt", "", ".", "..", "/",
    "//etc/passwd", "../../etc/shadow", "a.txt/x", "d/../../x", "x" * 4000, "\0", "a\nb", "-rf",
    "link", "link/x", "loop", "dir", "ü/é", "a.txt\0b", "~", "$HOME", "dir//./x",
    "\u202e", "C:\\x", "proc/self/root/etc/passwd",
]  # fmt: skip
TEXTS = [
    "",
    "x",
    "\0",
    "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n",
    "@@ -1,999999999 +1 @@\n x",
    "é" * 1000,
    "\ud7ff",
    "a\r\nb",
]


def mutate(message: bytes, chance: random.Random) -> bytes:
    data = bytearray(message)
    for _ in range(chance.randint(1, 8)):
        if data:
            data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def some_action(chance: random.Random) -> pb.Action:
    path, text = chance.choice(PATHS), chance.choice(TEXTS)
    kind = chance.randrange(4)
    if kind == 0:
        lines = chance.choice([0, 1, -1, 2**31 - 1])
        return pb.Action(
            read_file=step_pb2.ReadFileInput(path=path, start_line=lines, end_line=chance.choice([0, 1]))
        )
    if kind == 1:
        return pb.Action(edit_file=step_pb2.EditFileInput(path=path, new_content=text))
    if kind == 2:
        return pb.Action(edit_file=step_pb2.EditFileInput(path=path, patch=text))
    argv = step_pb2.Argv(items=[chance.choice([path, "true", text]), text])
    return pb.Action(run_command=step_pb2.RunCommandInput(argv=argv, working_dir=chance.choice(PATHS)))


@pytest.mark.parametrize("seed", range(4))
async def test_odd_actions(executor: Any, seed: int) -> None:
    ws = await executor.workspace(**{"dir/x": "x"})
    (executor.live / "link").symlink_to("/etc")
    (executor.live / "loop").symlink_to("loop")
    chance = random.Random(seed)
    for step in range(1, 61):
        request = pb.PrepareRequest(key=executor.key(step), workspace_id=ws, action=some_action(chance))
        answer = await attempt(executor, "Prepare", request)
        if isinstance(answer, InterlockError):
            assert answer.reason is not Reason.INTERNAL, request
            continue
        shown = answer.effect.content.head + answer.effect.stdout.head
        assert b"root:" not in shown, request
        assert answer.failure.reason != "INTERNAL"
    assert sorted(path.name for path in executor.live.iterdir()) == ["a.txt", "dir", "link", "loop"]


@pytest.mark.parametrize("seed", range(3))
async def test_mutated_messages(executor: Any, act: Any, seed: int) -> None:
    ws = await executor.workspace()
    chance = random.Random(seed)
    key = executor.key()
    digest = "sha256:" + "0" * 64
    seeds = {
        "Prepare": pb.PrepareRequest(key=key, workspace_id=ws, action=act.edit("f", new_content="x")),
        "Propose": pb.ProposeRequest(key=key, workspace_id=ws, action=act.command("true")),
        "Apply": pb.ApplyRequest(key=key, effect_digest=digest, approved_digest=digest),
        "Discard": pb.DiscardRequest(key=key),
        "GetEffect": pb.GetEffectRequest(key=key),
        "ListFiles": pb.ListFilesRequest(workspace_id=ws, path="d", page_token="eA"),
        "ReadFile": pb.ReadFileRequest(workspace_id=ws, path="a.txt", offset=1, limit=5),
        "DiffTrees": pb.DiffTreesRequest(workspace_id=ws, from_tree=digest),
        "ListSnapshots": pb.ListSnapshotsRequest(workspace_id=ws, page_token="eA"),
        "RestoreTree": pb.RestoreTreeRequest(request_id="r", workspace_id=ws, tree=digest),
        "GetWorkspace": pb.GetWorkspaceRequest(workspace_id=ws),
    }
    for _ in range(150):
        name = chance.choice(list(seeds))
        try:
            request = type(seeds[name]).FromString(mutate(seeds[name].SerializeToString(), chance))
        except DecodeError:
            continue  # not a message at all: it could not even be sent
        async with asyncio.timeout(30):
            answer = await attempt(executor, name, request)
        assert not isinstance(answer, InterlockError) or answer.reason is not Reason.INTERNAL, (name, request)


async def attempt(executor: Any, name: str, request: Any) -> Any:
    """The answer, or the typed error."""
    try:
        return await executor.call(name, request)
    except InterlockError as error:
        return error


async def test_a_secret_of_the_executor_is_not_in_a_step(idle: Any, act: Any) -> None:
    await idle.start(PLANTED_SECRET="planted-7f3a")
    ws = await idle.workspace()
    line = "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; ls -l /proc/*/fd"
    answer = await idle.prepare(ws, act.command(line))
    assert b"planted-7f3a" not in answer.effect.stdout.head + answer.effect.stderr.head
    assert b"test-token" not in answer.effect.stdout.head


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"INTERLOCK_STEP_UID": "0"}, "SANDBOX_UNAVAILABLE"),
        ({"INTERLOCK_STEP_UID": "x"}, "INTERLOCK_STEP_UID"),
        ({"INTERLOCK_SANDBOX": "bubblewrap", "INTERLOCK_BWRAP": "/bin/false"}, "SANDBOX_UNAVAILABLE"),
        ({"INTERLOCK_EXTRA_RO_MOUNTS": "/usr:/workspace/usr"}, "INTERLOCK_EXTRA_RO_MOUNTS"),
        ({"INTERLOCK_SANDBOX": "bubblewrap", "INTERLOCK_ROOTFS": "/proc/self/fdinfo"}, "SANDBOX_UNAVAILABLE"),
        ({"INTERLOCK_FORK": "magic"}, "INTERLOCK_FORK"),
    ],
)
def test_it_refuses_to_start_unconfined(place: Path, env: dict[str, str], words: str) -> None:
    if env.get("INTERLOCK_STEP_UID") and os.geteuid() != 0:
        pytest.skip("only root chooses the uid of steps")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "INTERLOCK_EXECUTOR_DIR": str(place / "state"),
        "INTERLOCK_EXECUTOR_ADDRESS": "127.0.0.1:0",
        "INTERLOCK_TOKEN": "t",
        **env,
    }
    done = subprocess.run(
        [sys.executable, "-m", "interlock.executor"],
        env=environment,
        capture_output=True,
        timeout=100,
        check=False,
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode in (1, 2)
    assert words in said
    assert "Traceback" not in said
