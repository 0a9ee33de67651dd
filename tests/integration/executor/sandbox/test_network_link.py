"""A step's proxy as an ordinary user starts it, and where it cannot be let in."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.identity import step_identity
from interlock.executor.sandbox.network.grant import Grant
from interlock.executor.sandbox.network.inside import listen_inside
from interlock.executor.sandbox.network.link import Link
from interlock.executor.sandbox.network.rules import Rules

PROGRAM = """
import asyncio, sys
from pathlib import Path
from interlock.executor.sandbox.base import SandboxSpec
from interlock.executor.sandbox.bubblewrap import BubblewrapSandbox
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.network.config import ENVIRONMENT
from interlock.executor.sandbox.network.grant import Grant
from interlock.executor.sandbox.network.rules import Rules

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\nhello\\n")
    writer.close()

async def main(place):
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rules = Rules((f"good.test:{port}",), ("127.0.0.0/8",), (("good.test", "127.0.0.1"),))
    sandbox = BubblewrapSandbox(Confinement.from_env(place / "sandbox"))
    line = f"curl -sS http://good.test:{port}/; curl -s -o /dev/null -w '%{{http_code}}' http://bad.test/"
    result = await sandbox.run(SandboxSpec(command=line, env=dict(ENVIRONMENT), network=Grant(rules)))
    print(result.stdout.head, result.network.total, result.network.refused, result.network.problem or "whole")

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user every other test shows this")
def test_as_an_ordinary_user() -> None:
    if not shutil.which("/usr/bin/python3"):
        pytest.skip("an interpreter that other users can execute is needed")
    place = Path(tempfile.mkdtemp(prefix="interlock-user-"))
    os.chown(place, 64_200, 64_200)
    paths = [entry for entry in sys.path if entry]
    done = subprocess.run(
        ["/usr/bin/python3", "-c", PROGRAM, place],
        user=64_200, group=64_200, extra_groups=[], cwd="/", timeout=60,
        env={"PYTHONPATH": os.pathsep.join(paths), "HOME": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    shutil.rmtree(place)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "b'hello\\n403' 2 1 whole\n"


async def test_a_process_without_a_network_of_its_own_is_no_step() -> None:
    grant = Grant(Rules(("h.test:1",)))
    link = Link(grant, step_identity())
    with pytest.raises(InterlockError) as caught:
        await link.enter(os.getpid())
    assert caught.value.reason is Reason.SANDBOX_UNAVAILABLE
    assert not grant.used, "nothing has run"
    await link.close()


async def test_an_agent_that_dies_early_is_an_error_and_no_hang() -> None:
    link = Link(Grant(Rules(("h.test:1",))), step_identity())
    link._process.kill()
    with pytest.raises(InterlockError) as caught:
        await link.enter(os.getpid())
    assert caught.value.reason is Reason.SANDBOX_UNAVAILABLE
    await link.close()
    await link.close()


async def test_a_link_that_is_never_let_in_ends() -> None:
    link = Link(Grant(Rules(("h.test:1",))), step_identity())
    record = await asyncio.wait_for(link.finish(), 30)
    assert (record.total, record.problem) == (0, "the proxy ended before the step")
    await link.close()


HOSTILE = [
    b"",
    b"not JSON",
    b"[" * 100_000,
    b"[1, 2]",
    b"7",
    b"null",
    b'{"attempt": {"host": 1}}',
    b'{"attempt": {"host": "h", "port": 1, "sent": 99999999999999999999}}',
    b'{"attempt": {"host": "h", "port": 1, "more": 1}}',
    b'{"ready": ' + b"9" * 5000 + b"}",
    b"\xff\xfe",
]


@pytest.mark.parametrize("message", HOSTILE)
async def test_whatever_a_proxy_says_the_step_has_its_result(message: bytes) -> None:
    """The process reads what a hostile program sends; one that was taken over can say anything, and no more."""
    link = Link(Grant(Rules(("h.test:1",))), step_identity())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    link._hearing.cancel()
    link._control.close()
    link._control = ours
    link._hearing = asyncio.create_task(link._hear())
    if message:
        theirs.send(message)
    theirs.close()
    link._process.kill()
    record = await asyncio.wait_for(link.finish(), 30)
    assert record.problem
    assert record.total == 0
    await link.close()


def test_what_is_no_network_namespace_is_an_error() -> None:
    with open("/dev/null") as file, pytest.raises(OSError, match=r"\w"):
        listen_inside(file.fileno(), 3128)
