"""The supervisor with real processes: start, crash, restart, refusal, stop. Nothing is left running."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.supervisor.child import Child
from interlock.cli.supervisor.logfile import LogFile
from interlock.client.endpoints import ENDPOINTS_FILE, is_locked, read_running
from interlock.common.errors import InterlockError, Reason


async def test_everything_starts_is_announced_and_stops(
    supervised: Any, alive: Callable[[int], bool], until: Callable[..., Any]
) -> None:
    supervisor = supervised.make()
    endpoints = await supervisor.start()
    pids = {name: child.pid for name, child in supervisor.children.items()}
    try:
        assert sorted(pids) == ["approval", "executor", "gateway", "orchestrator", "planner"]
        assert all(alive(pid) for pid in pids.values())
        assert await supervisor.health() == dict.fromkeys(dict(endpoints.items()), True)
        assert read_running(supervised.directory) == endpoints
        written = json.loads((supervised.directory / ENDPOINTS_FILE).read_text())
        assert written["pid"] == os.getpid()
        for name, address in endpoints.items():
            assert f"{name} serves on {address}" in supervised.said
            log = supervised.directory / "logs" / f"{name}.log"
            await until(lambda log=log: b"serving" in log.read_bytes())
    finally:
        await supervisor.stop()
    assert not any(alive(pid) for pid in pids.values())
    assert not is_locked(supervised.directory)
    assert not (supervised.directory / ENDPOINTS_FILE).exists()


async def test_a_port_in_use_is_said_and_nothing_is_started(supervised: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        supervised.env["INTERLOCK_PLANNER_ADDRESS"] = taken
        with pytest.raises(
            InterlockError, match=f"{taken}, where the planner would listen, is in use"
        ) as caught:
            await supervised.make().start()
    assert caught.value.reason is Reason.UNAVAILABLE
    assert "--port-base 0" in caught.value.fix
    assert supervised.said == []
    assert not is_locked(supervised.directory)


async def test_a_killed_service_comes_back_at_its_address(supervised: Any, until: Callable[..., Any]) -> None:
    supervisor = supervised.make()
    endpoints = await supervisor.start()
    try:
        for _ in range(2):
            before = supervisor.children["planner"].pid
            os.kill(before, signal.SIGKILL)
            await until(lambda before=before: supervisor.children["planner"].pid not in (0, before))
            await _until_healthy(supervisor)
        assert supervisor.children["planner"].restarts == 2
        assert supervisor.endpoints == endpoints
        assert [line for line in supervised.said if "planner ended with signal SIGKILL" in line] == [
            "planner ended with signal SIGKILL; starting it again in 0.5 s",
            "planner ended with signal SIGKILL; starting it again in 1.0 s",
        ]
    finally:
        await supervisor.stop()


async def test_a_service_that_cannot_start_is_explained_and_the_rest_stopped(
    supervised: Any, alive: Callable[[int], bool]
) -> None:
    supervised.modes["orchestrator"] = "fail"
    supervisor = supervised.make()
    with pytest.raises(InterlockError) as caught:
        await supervisor.start()
    error = caught.value
    assert error.reason is Reason.UNAVAILABLE
    assert error.message == "The orchestrator did not start: Port is taken."
    assert error.fix == "Free it."
    assert error.metadata["log"] == str(supervised.directory / "logs" / "orchestrator.log")
    assert supervisor.children == {}
    assert not is_locked(supervised.directory)


async def test_a_second_supervisor_is_refused_naming_the_first(supervised: Any) -> None:
    first = supervised.make()
    await first.start()
    try:
        second = supervised.make()
        with pytest.raises(InterlockError) as caught:
            await second.start()
        await second.stop()
        assert caught.value.metadata["pid"] == str(os.getpid())
        assert f"as process {os.getpid()}" in caught.value.message
        assert all((await first.health()).values())
        assert read_running(supervised.directory) == first.endpoints
    finally:
        await first.stop()
    again = supervised.make()
    await again.start()
    await again.stop()


async def test_a_stubborn_service_is_killed_with_what_it_started(
    supervised: Any, alive: Callable[[int], bool], until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from interlock.cli.supervisor import supervisor as module

    monkeypatch.setattr(module, "STOP_SECONDS", 0.5)
    supervised.modes["planner"] = "stubborn"
    supervisor = supervised.make()
    await supervisor.start()
    log = supervised.directory / "logs" / "planner.log"
    line = await until(lambda: next((t for t in log.read_text().splitlines() if t.startswith("child ")), ""))
    grandchild = int(line.split()[1])
    planner = supervisor.children["planner"].pid
    assert alive(grandchild)
    await supervisor.stop()
    await until(lambda: not alive(grandchild) and not alive(planner))


async def test_anything_a_service_prints_goes_to_its_log(supervised: Any, until: Callable[..., Any]) -> None:
    supervised.modes["executor"] = "loud"
    supervisor = supervised.make()
    await supervisor.start()
    log = supervised.directory / "logs" / "executor.log"
    await until(lambda: log.read_bytes().count(b"x") >= 3_000_000)
    await supervisor.stop()
    text = log.read_bytes()
    assert text.startswith(b"plain line\n\xff\xfe not text\n")
    assert b"unfinished" in text


_PROGRAM = """
import asyncio, json, os, sys
sys.path.insert(0, sys.argv[1])
from interlock.cli.supervisor.supervisor import Supervisor

async def main():
    standin = os.path.join(sys.argv[1], "standin.py")
    command = lambda service: [sys.executable, "-P", standin, service, "serve"]
    supervisor = Supervisor(os.environ, port_base=0, report=lambda line: None, command=command)
    await supervisor.start()
    print(json.dumps([child.pid for child in supervisor.children.values()]), flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_when_the_supervisor_is_killed_its_services_end(
    supervised: Any, alive: Callable[[int], bool], until: Callable[..., Any]
) -> None:
    line = [sys.executable, "-c", _PROGRAM, str(Path(__file__).parent)]
    process = await asyncio.create_subprocess_exec(*line, env=supervised.env, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    pids = json.loads(await process.stdout.readline())
    assert len(pids) == 5
    assert all(alive(pid) for pid in pids)
    process.kill()
    await process.wait()
    await until(lambda: not any(alive(pid) for pid in pids))
    assert read_running(supervised.directory) is None


async def test_cancelled_while_starting_it_stops_what_had_started(
    supervised: Any, until: Callable[..., Any]
) -> None:
    supervised.modes["orchestrator"] = "hang"
    supervisor = supervised.make()
    starting = asyncio.create_task(supervisor.start())
    await until(lambda: "orchestrator" in supervisor.children, 60)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert supervisor.children == {}
    assert not is_locked(supervised.directory)


async def _until_healthy(supervisor: Any) -> None:
    """Asks again and again: a service may serve between two questions only."""
    async with asyncio.timeout(30):
        while not all((await supervisor.health()).values()):  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.05)


async def test_later_services_wait_for_their_turn_with_everything_imported(
    tmp_path: Path, until: Callable[..., Any]
) -> None:
    program = (
        "import sys; from interlock.common.process import run\n"
        "async def main(): open(sys.argv[1], 'w').close()\n"
        "open(sys.argv[1] + '.imported', 'w').close(); sys.exit(run('planner', main))"
    )
    log = LogFile(tmp_path / "log")
    env = dict(os.environ)
    child = Child("held", [sys.executable, "-c", program, str(tmp_path / "ran")], env, log, print, held=True)
    await child.start()
    try:
        await until((tmp_path / "ran.imported").exists)
        assert child.pid
        assert not (tmp_path / "ran").exists()
        child.release()
        await until((tmp_path / "ran").exists)
        # Started again, it waits for nobody.
        (tmp_path / "ran").unlink()
        await until((tmp_path / "ran").exists)
        assert child.restarts
    finally:
        await child.stop(5)


async def test_a_held_one_is_stopped_like_any_other(tmp_path: Path, until: Callable[..., Any]) -> None:
    program = "from interlock.common.process import run; run('planner', None)"
    log = LogFile(tmp_path / "log")
    child = Child("held", [sys.executable, "-c", program], dict(os.environ), log, print, held=True)
    await child.start()
    await child.stop(5)
    assert child.pid == 0


def test_a_descriptor_that_is_none_is_said() -> None:
    program = "import sys; from interlock.common.process import run; sys.exit(run('planner', None))"
    env = {**os.environ, "INTERLOCK_HOLD_FD": "nonsense"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "INTERLOCK_HOLD_FD is 'nonsense'" in done.stderr
