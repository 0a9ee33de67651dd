"""What the supervisor gives each service, and its log files. Processes are tested in tests/integration/cli."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlock.cli.supervisor.logfile import LogFile
from interlock.cli.supervisor.services import STAGES, allocate, command_line, environment
from interlock.client.endpoints import SERVICES, Endpoints, defaults

BASE = {
    "PATH": "/bin",
    "INTERLOCK_DATA_DIR": "/d",
    "INTERLOCK_MODEL_API_KEY": "secret",
    "INTERLOCK_WEBHOOK_KEY": "secret",
    "INTERLOCK_MODEL_GATEWAY": "openai",
    "INTERLOCK_DATABASE_URL": "postgresql://secret",
    "INTERLOCK_DATABASE_POOL": "4",
    "INTERLOCK_SECRET_DEPLOY": "value",
    "INTERLOCK_SECRETS_DIR": "/s",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317",
}


@pytest.mark.parametrize("service", SERVICES)
def test_keys_are_the_planners_and_the_database_is_the_orchestrators(service: str) -> None:
    env = environment(service, BASE, defaults())
    assert ("INTERLOCK_MODEL_API_KEY" in env) == (service == "planner")
    assert ("INTERLOCK_WEBHOOK_KEY" in env) == (service == "orchestrator")
    assert ("INTERLOCK_DATABASE_URL" in env) == (service == "orchestrator")
    assert {"INTERLOCK_SECRET_DEPLOY", "INTERLOCK_SECRETS_DIR"} & env.keys() == (
        {"INTERLOCK_SECRET_DEPLOY", "INTERLOCK_SECRETS_DIR"} if service == "executor" else set()
    )
    assert env["PATH"] == "/bin"
    assert env["INTERLOCK_DATA_DIR"] == "/d"
    assert env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://localhost:4317"
    for name, address in defaults().items():
        assert env[f"INTERLOCK_{name.upper()}_ADDRESS"] == address


def test_every_service_has_a_stage() -> None:
    assert sorted(name for stage in STAGES for name in stage) == sorted(SERVICES)
    assert command_line("planner")[-2:] == ["-m", "interlock.planner"]


def test_ports() -> None:
    assert allocate(7400, Endpoints()) == defaults()
    shifted = allocate(9000, Endpoints(planner="unix:/p"))
    assert dict(shifted.items()) == {
        "orchestrator": "127.0.0.1:9001",
        "executor": "127.0.0.1:9002",
        "planner": "unix:/p",
        "approval": "127.0.0.1:9004",
        "gateway": "127.0.0.1:9005",
    }
    free = [address for _, address in allocate(0, Endpoints()).items()]
    assert len(set(free)) == 5
    assert all(int(address.rpartition(":")[2]) > 0 for address in free)


def test_logs_are_bounded(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "logs" / "x.log", max_bytes=1000)
    for number in range(1000):
        log.write(f"{number:09d}\n".encode())
    log.close()
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == ["x.log", "x.log.1"]
    assert all(file.stat().st_size <= 1000 for file in files)
    assert files[0].read_bytes().endswith(b"000000999\n")


def test_a_log_goes_on_after_a_restart(tmp_path: Path) -> None:
    for text in (b"one\n", b"two\n"):
        log = LogFile(tmp_path / "x.log", max_bytes=1000)
        log.write(text)
        log.close()
    assert (tmp_path / "x.log").read_bytes() == b"one\ntwo\n"


def test_why_a_service_ended_is_read_from_its_log(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "x.log")
    assert log.last_error() == {"event": "it wrote nothing"}
    log.write(b"Traceback: bad\n")
    assert log.last_error() == {"event": "Traceback: bad"}
    error = {"level": "error", "event": "Cannot listen.", "reason": "UNAVAILABLE", "fix": "Stop it."}
    log.write(json.dumps(error).encode() + b"\n")
    log.write(b'{"level": "info", "event": "bye"}\n[]\n\xff\n')
    assert log.last_error() == error
    log.close()
