"""Where the services are looked for, and what a supervisor's files mean."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from interlock.client.connection import Connection
from interlock.client.endpoints import (
    ENDPOINTS_FILE,
    LOCK_FILE,
    Endpoints,
    defaults,
    is_locked,
    parse_servers,
    read_running,
    remove_running,
    resolve,
    write_running,
)
from interlock.client.retry import Retry
from interlock.common.errors import InterlockError, Reason

GONE = InterlockError(Reason.UNAVAILABLE, "The orchestrator cannot be reached.")
RUNNING = Endpoints("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4")


@contextmanager
def held(directory: Path) -> Iterator[None]:
    fd = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


def test_the_defaults_are_the_documented_addresses(tmp_path: Path) -> None:
    found = resolve(directory=tmp_path, env={})
    assert dict(found.items()) == {
        "orchestrator": "127.0.0.1:7401",
        "executor": "127.0.0.1:7402",
        "planner": "127.0.0.1:7403",
        "approval": "127.0.0.1:7404",
        "gateway": "127.0.0.1:8002",
    }


def test_arguments_win_over_the_environment_over_what_runs_over_the_defaults(tmp_path: Path) -> None:
    write_running(tmp_path, Endpoints(executor="127.0.0.1:22", planner="127.0.0.1:23"), 1)
    env = {"INTERLOCK_ORCHESTRATOR_ADDRESS": "127.0.0.1:11", "INTERLOCK_EXECUTOR_ADDRESS": "127.0.0.1:12"}
    with held(tmp_path):
        found = resolve(Endpoints(orchestrator="127.0.0.1:1"), directory=tmp_path, env=env)
    assert found == Endpoints(
        "127.0.0.1:1", "127.0.0.1:12", "127.0.0.1:23", "127.0.0.1:7404", "127.0.0.1:8002"
    )


def test_what_a_dead_supervisor_wrote_does_not_count(tmp_path: Path) -> None:
    write_running(tmp_path, RUNNING, os.getpid())
    assert read_running(tmp_path) is None
    with held(tmp_path):
        assert read_running(tmp_path) == RUNNING
    assert read_running(tmp_path) is None


def test_the_lock_is_only_looked_at(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with held(tmp_path):
        assert is_locked(tmp_path)
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"services": 3}', b'{"services": []}', b"\xff"]
)
def test_a_broken_file_is_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ENDPOINTS_FILE).write_bytes(content)
    with held(tmp_path):
        assert read_running(tmp_path) is None


def test_the_file_says_where_and_who(tmp_path: Path) -> None:
    write_running(tmp_path, RUNNING, 4711)
    data = json.loads((tmp_path / ENDPOINTS_FILE).read_text())
    assert data == {"version": 1, "pid": 4711, "temporary": False, "services": dict(RUNNING.items())}
    remove_running(tmp_path)
    remove_running(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_servers_are_named_or_the_orchestrator() -> None:
    found = parse_servers(("localhost:1", "executor=unix:/run/e.sock"))
    assert found == Endpoints(orchestrator="localhost:1", executor="unix:/run/e.sock")
    assert parse_servers(()) == Endpoints()


@pytest.mark.parametrize("value", ["gateway=localhost:1", "=localhost:1", "nonsense", "executor=", "a b:1"])
def test_bad_servers_are_refused(value: str) -> None:
    with pytest.raises(InterlockError) as caught:
        parse_servers((value,))
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "server")


def test_a_malformed_address_names_its_service(tmp_path: Path) -> None:
    with pytest.raises(InterlockError) as caught:
        resolve(Endpoints(planner="nowhere"), directory=tmp_path, env={})
    assert caught.value.field == "planner"


def test_filling_keeps_what_is_known() -> None:
    assert Endpoints(orchestrator="a:1").filled_from(defaults()).orchestrator == "a:1"


def test_a_supervisor_is_waited_for_where_its_own_services_are_asked_and_not_where_others_are(
    tmp_path: Path,
) -> None:
    env: dict[str, Any] = {"directory": tmp_path, "token": "t"}
    retry = Retry(unseen=0)
    write_running(tmp_path, RUNNING, os.getpid())
    with held(tmp_path):
        found = Connection(retry=retry, **env)
        same = Connection(orchestrator=RUNNING.orchestrator, retry=retry, **env)
        other = Connection(orchestrator="127.0.0.1:9", retry=retry, **env)
        assert [each.delays("orchestrator").after(GONE) is not None for each in (found, same, other)] == [
            True,
            True,
            False,
        ]
        assert other.delays("executor").after(GONE) is not None, "the executor is the supervisor's"
    assert found.delays("orchestrator").after(GONE) is None, "nobody holds the directory any more"
