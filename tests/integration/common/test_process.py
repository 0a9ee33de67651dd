"""A service as a real process: start, signals, failures, and what it prints."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
from tests.support.echo import call, message
from tests.support.processes import python_module

from interlock.common.client import channel
from interlock.common.config import load_token

MODULE = "tests.support.echo_main"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"INTERLOCK_DATA_DIR": str(tmp_path / "data"), "INTERLOCK_LOG_LEVEL": "debug"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_drains(tmp_path: Path, env: dict[str, str], number: signal.Signals) -> None:
    ready = tmp_path / "ready"
    async with python_module(tmp_path / "log", MODULE, "releasing", str(ready), env=env) as child:
        address = await child.wait_for_file(ready)
        async with channel(address, load_token(False, env)) as opened:
            waiting = asyncio.ensure_future(call(opened, "Unary", message(do="wait")))
            await _until_under_way(opened)
            child.process.send_signal(number)
            assert (await waiting)[0]["subject"] == "local"
        assert await child.wait() == 0
        lines = [json.loads(line) for line in child.log.splitlines()]
    events = [line["event"] for line in lines if line.get("component") == "server"]
    assert events == ["serving", "draining", "stopped"]
    assert not ready.exists()


async def _until_under_way(opened: object) -> None:
    # Calls of one channel are handled in order: this answer means that the one before has begun.
    await call(opened, "Unary", message())


async def test_second_signal_does_not_wait_for_the_grace_period(tmp_path: Path, env: dict[str, str]) -> None:
    ready = tmp_path / "ready"
    async with python_module(tmp_path / "log", MODULE, "patient", str(ready), env=env) as child:
        address = await child.wait_for_file(ready)
        async with channel(address, load_token(False, env)) as opened:
            waiting = asyncio.ensure_future(call(opened, "Unary", message(do="wait")))
            await _until_under_way(opened)
            child.process.terminate()
            await child.wait_for_log('"draining"')
            child.process.terminate()
            # The grace period is 30 seconds; the child may not take them.
            assert await child.wait(20) == 0
            await asyncio.gather(waiting, return_exceptions=True)


async def test_wrong_configuration_is_one_line_and_code_2(tmp_path: Path, env: dict[str, str]) -> None:
    broken = {**env, "INTERLOCK_TOKEN": "two words"}
    async with python_module(tmp_path / "log", MODULE, "x", str(tmp_path / "ready"), env=broken) as child:
        assert await child.wait() == 2
        (line,) = child.log.splitlines()
    entry = json.loads(line)
    assert (entry["reason"], entry["field"]) == ("INVALID_ARGUMENT", "INTERLOCK_TOKEN")
    assert entry["fix"]
    assert "two words" not in line


async def test_defect_at_the_start_is_one_line_and_code_1(tmp_path: Path, env: dict[str, str]) -> None:
    async with python_module(tmp_path / "log", MODULE, "broken", str(tmp_path / "ready"), env=env) as child:
        assert await child.wait() == 1
        lines = [json.loads(line) for line in child.log.splitlines()]
    assert "AssertionError: broken" in lines[-1]["exception"]


async def test_wrong_log_level(tmp_path: Path, env: dict[str, str]) -> None:
    broken = {**env, "INTERLOCK_LOG_LEVEL": "loud"}
    async with python_module(tmp_path / "log", MODULE, "x", str(tmp_path / "ready"), env=broken) as child:
        assert await child.wait() == 2
        assert json.loads(child.log)["field"] == "INTERLOCK_LOG_LEVEL"


async def test_nothing_but_json_lines_is_printed_even_for_defects(
    tmp_path: Path, env: dict[str, str]
) -> None:
    ready = tmp_path / "ready"
    async with python_module(tmp_path / "log", MODULE, "impatient", str(ready), env=env) as child:
        address = await child.wait_for_file(ready)
        async with channel(address, load_token(False, env)) as opened:
            for do in ("crash", "fail", "abort"):
                await asyncio.gather(
                    *(call(opened, shape, message(do=do)) for shape in ("Unary", "Both")),
                    return_exceptions=True,
                )
        child.process.terminate()
        assert await child.wait() == 0
        lines = [json.loads(line) for line in child.log.splitlines()]
    crashes = [line for line in lines if "exception" in line]
    assert len(crashes) == 2
    assert all("ZeroDivisionError" in line["exception"] and line["request_id"] for line in crashes)
    ended = [line for line in lines if line.get("component") == "rpc" and line["event"] == "rpc"]
    assert {line["code"] for line in ended} == {"INTERNAL", "NOT_FOUND", "OUT_OF_RANGE"}
    assert load_token(False, env) not in json.dumps(lines)
