"""What is left of secrets when the executor is killed while a step has them: nothing."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.support.files_below import files_below

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import step_pb2

SECRET = "secret-" + secrets.token_hex(12)


async def begun(executor: Any) -> None:
    """Until the step has said something."""
    request = pb.StreamOutputRequest(key=executor.key())
    while True:
        try:
            with rpc_errors("executor"):
                async for message in executor.stub.StreamOutput(request):
                    if message.chunk.data:
                        return
        except InterlockError as error:
            if error.reason is not Reason.EFFECT_NOT_FOUND:
                raise
        await asyncio.sleep(0.01)


def holders(place: Path) -> list[str]:
    """Processes in whose file systems something of the executor's is mounted."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if f"{place}/".encode() in Path("/proc", name, "mountinfo").read_bytes():
                found.append(name)
        except OSError:
            continue
    return found


def stored(place: Path) -> list[Path]:
    """Files below it that hold the secret."""
    return [path for path, data in files_below(place) if SECRET.encode() in data]


@pytest.mark.parametrize("sandbox", ["bubblewrap", "oci:runc", "oci:crun"])
async def test_nothing_is_left_of_secrets_when_the_executor_is_killed(
    idle: Any, act: Any, sandbox: str
) -> None:
    backend, _, runtime = sandbox.partition(":")
    settings = {"INTERLOCK_SANDBOX": backend, "INTERLOCK_SECRET_ONE": SECRET}
    if runtime:
        if shutil.which(runtime) is None or os.geteuid() != 0:
            pytest.skip(f"{runtime} is not installed, or this is not root")
        settings["INTERLOCK_OCI_RUNTIME"] = runtime
    try:
        await idle.start(**settings)
    except AssertionError:
        assert "SANDBOX_UNAVAILABLE" in idle.child.log
        pytest.skip(f"{sandbox} cannot be used here")
    workspace = await idle.workspace()
    uses = [step_pb2.SecretUse(name="one", appears_as=place) for place in ("T", "/run/secrets/x")]
    line = "cat /run/secrets/x; sleep 1000"
    work = asyncio.create_task(idle.prepare(workspace, act.command(line, secrets=uses)))
    await begun(idle)
    assert holders(idle.state), "the step has what is looked for below"
    await idle.kill()
    with pytest.raises(InterlockError):
        await work
    while holders(idle.state):  # noqa: ASYNC110 - the kernel ends them
        await asyncio.sleep(0.01)
    assert stored(idle.place) == []
    for states in idle.state.rglob("oci/state"):
        (
            states / "interlock-0123456789abcdef"
        ).mkdir()  # as a runtime leaves it that was killed in its first moment
    await idle.start(**settings)
    assert holders(idle.state) == []
    for directory in ("bundles", "state"):
        assert [path for path in idle.state.rglob(f"oci/{directory}/*") if path.is_dir()] == []
    assert stored(idle.place) == []
