"""The executor is run by root in containers and by people as themselves: the other case than the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, sys
from pathlib import Path
from interlock.executor.sandbox.base import Fork, SandboxSpec, Limits
from interlock.executor.sandbox.bubblewrap import BubblewrapSandbox
from interlock.executor.sandbox.confinement import Confinement

async def main(place):
    sandbox = BubblewrapSandbox(Confinement.from_env(place / "sandbox"))
    probe = await sandbox.probe(place)
    for check in probe.checks: print(check.name, check.ok, check.detail)
    print("left", [each.name for each in place.glob("self-test-*")])
    for name in ("base", "up", "wk"): (place / name).mkdir()
    (place / "base/f").write_text("old")
    fork = Fork((place / "base",), place / "up", place / "wk")
    line = "id -u; echo new > f; echo x > /usr/x; ulimit -n; ls /root"
    result = await sandbox.run(SandboxSpec(command=line, fork=fork, limits=Limits(open_files=77)))
    print(result.stdout.head, (place / "up/f").read_text().strip(), (place / "base/f").read_text(), end=" ")
    print(result.enforced["memory_bytes"])
    slow = await sandbox.run(SandboxSpec(command="sleep 100 & sleep 100", limits=Limits(wall_us=200000)))
    print(slow.ending)

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
    lines = done.stdout.splitlines()
    assert "step True" in done.stdout
    assert "left []" in lines
    assert "b'1000\\n77\\n' new" in done.stdout
    assert " old watchdog" in done.stdout
    assert lines[-1] == "Ending.TIMED_OUT"
