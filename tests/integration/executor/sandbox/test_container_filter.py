"""Steps under the filter that the executor's container has: the shipped profile, loaded by the engines' own library."""

from __future__ import annotations

import ctypes.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.arena import open_directory

PROFILE = Path(__file__).resolve().parents[4] / "deploy/docker/seccomp-executor.json"

PROGRAM = r"""
import asyncio, ctypes, json, sys
from pathlib import Path

class Test(ctypes.Structure):
    _fields_ = [("index", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]

OPS = {"SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5, "SCMP_CMP_GT": 6,
       "SCMP_CMP_MASKED_EQ": 7}

def confine(profile, library):
    lib = ctypes.CDLL(library)
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_init.argtypes = [ctypes.c_uint32]
    lib.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint,
                                           ctypes.c_void_p]
    lib.seccomp_load.argtypes = [ctypes.c_void_p]
    code = lambda action, error: 0x7FFF0000 if action == "SCMP_ACT_ALLOW" else 0x00050000 | error
    context = lib.seccomp_init(code(profile["defaultAction"], profile["defaultErrnoRet"]))
    for rule in profile["syscalls"]:
        tests = [Test(t["index"], OPS[t["op"]], t["value"], t.get("valueTwo", 0)) for t in rule.get("args", [])]
        made = (Test * len(tests))(*tests)
        for name in rule["names"]:
            number = lib.seccomp_syscall_resolve_name(name.encode())
            if number != -1:
                found = lib.seccomp_rule_add_array(context, code(rule["action"], rule.get("errnoRet", 1)), number,
                                                   len(tests), made)
                assert found == 0, (name, found)
    assert lib.seccomp_load(context) == 0

async def answer(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello\n")
    writer.close()

async def main(place):
    from interlock.executor.sandbox.base import SandboxSpec
    from interlock.executor.sandbox.bubblewrap import BubblewrapSandbox
    from interlock.executor.sandbox.confinement import Confinement
    from interlock.executor.sandbox.network.config import ENVIRONMENT, NetworkConfig
    from interlock.executor.sandbox.network.grant import Grant
    from interlock.executor.sandbox.network.rules import Rules
    from interlock.executor.sandbox.network.trial import NetworkTrial
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rules = Rules((f"good.test:{port}",), ("127.0.0.0/8",), (("good.test", "127.0.0.1"),))
    sandbox = BubblewrapSandbox(Confinement.from_env(place / "sandbox"))
    line = f"curl -sS http://good.test:{port}/; curl -s -o /dev/null -w '%{{http_code}}' http://bad.test/"
    print((await NetworkTrial(NetworkConfig(on=True), sandbox).found()).lacking or "works")
    result = await sandbox.run(SandboxSpec(command=line, env=dict(ENVIRONMENT), network=Grant(rules)))
    print(result.stdout.head, result.network.total, result.network.refused, result.network.problem or "whole")

def namespaces():
    # A descriptor of a namespace, and no kind or another kind: refused by the filter, before the kernel looks.
    libc = ctypes.CDLL(None, use_errno=True)
    said = []
    for name, kind in (("net", 0), ("mnt", 0x20000), ("pid", 0x20000000), ("uts", 0x04000000), ("cgroup", 0x02000000)):
        with open(f"/proc/self/ns/{name}") as file:
            said.append((libc.setns(file.fileno(), kind), ctypes.get_errno()))
    print(set(said))

profile, library, place = sys.argv[1:4]
confine(json.loads(profile), library)
namespaces()
asyncio.run(main(Path(place)))
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with open_directory("interlock-filter-") as path:
        yield path


def run_confined(profile: dict[str, Any], place: Path) -> subprocess.CompletedProcess[str]:
    """As an ordinary user, without privileges to gain."""
    library = ctypes.util.find_library("seccomp")
    if library is None or not shutil.which("/usr/bin/python3"):
        pytest.skip("libseccomp and an interpreter that other users can execute are needed")
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        os.chown(place, 64_200, 64_200)
        user = {"user": 64_200, "group": 64_200, "extra_groups": []}
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.run(
        ["setpriv", "--no-new-privs", "/usr/bin/python3", "-c", PROGRAM, json.dumps(profile), library, place],
        cwd="/", timeout=60, env={"PYTHONPATH": path, "HOME": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False, **user,
    )  # fmt: skip


def test_a_step_has_its_network_in_the_shipped_container(place: Path) -> None:
    done = run_confined(json.loads(PROFILE.read_text()), place)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{(-1, 1)}\nworks\nb'hello\\n403' 2 1 whole\n"


def test_without_setns_such_a_step_is_refused_before_it_runs(place: Path) -> None:
    profile = json.loads(PROFILE.read_text())
    profile["syscalls"] = [rule for rule in profile["syscalls"] if "setns" not in rule["names"]]
    done = run_confined(profile, place)
    assert done.returncode != 0
    assert "The step's proxy could not be started: Operation not permitted." in done.stderr
    assert "b'hello" not in done.stdout
    assert "The step's proxy could not be started" in done.stdout, (
        "found out at the start of the executor, too"
    )
