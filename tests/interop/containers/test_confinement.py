"""What docker-compose.yml asks for is what the containers are: read from inside each, not from the file."""

from __future__ import annotations

import re

import pytest
from tests.interop.containers.conftest import SERVICES, UID, Stack

DIALS = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()"


def status(stack: Stack, service: str) -> dict[str, str]:
    """/proc/self/status of a new process in the container, which gets what the service gets."""
    lines = stack.inside(service, "cat", "/proc/self/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize("service", ["postgres", *SERVICES])
def test_a_service_is_healthy_and_was_not_restarted(stack: Stack, service: str) -> None:
    stack.healthy(service)
    assert stack.inspect(service)["RestartCount"] == 0


def test_the_database_was_migrated_once(stack: Stack) -> None:
    state = stack.inspect("migrate")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)


@pytest.mark.parametrize("service", ["postgres", *SERVICES])
def test_a_service_has_no_root_no_capability_and_a_filter(stack: Stack, service: str) -> None:
    found = status(stack, service)
    assert found["Uid"].split() == [str(999 if service == "postgres" else UID)] * 4
    assert {found[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"


@pytest.mark.parametrize("service", ["postgres", *SERVICES])
def test_a_service_cannot_write_to_its_own_programs(stack: Stack, service: str) -> None:
    mounts = stack.inside(service, "cat", "/proc/self/mounts").splitlines()
    root = next(line.split() for line in mounts if line.split()[1] == "/")
    assert "ro" in root[3].split(",")
    done = stack.inside(service, "sh", "-c", "touch /usr/x 2>&1; touch /opt/x 2>&1; true")
    assert done.count("Read-only file system") == 2


@pytest.mark.parametrize("service", SERVICES)
def test_only_the_executors_proc_is_unmasked(stack: Stack, service: str) -> None:
    mounts = stack.inside(service, "cat", "/proc/self/mounts")
    masked = re.search(r"^\S+ /proc/(kcore|keys|timer_list|sys) ", mounts, re.M)
    assert (masked is None) == (service == "executor")


@pytest.mark.parametrize("service", SERVICES)
def test_limits_are_set(stack: Stack, service: str) -> None:
    limits = stack.inspect(service)["HostConfig"]
    gib = 8 if service == "executor" else 2 if service == "planner" else 1
    assert limits["Memory"] == gib << 30
    assert limits["PidsLimit"] == (4096 if service == "executor" else 512)


@pytest.mark.parametrize("call", ["keyctl", "ptrace", "vsock", "fsopen"])
def test_the_executors_filter_refuses(stack: Stack, call: str) -> None:
    program = {
        "keyctl": "print(C.syscall(250, 0, -3, 1), ctypes.get_errno())",
        "ptrace": "print(C.ptrace(0, 0, 0, 0), ctypes.get_errno())",
        "fsopen": "print(C.syscall(430, b'tmpfs', 0), ctypes.get_errno())",
        "vsock": "print(C.socket(40, 1, 0), ctypes.get_errno())",
    }[call]
    code = f"import ctypes; C = ctypes.CDLL(None, use_errno=True); {program}"
    assert stack.inside("executor", "python", "-c", code).split() == ["-1", "1"], "EPERM"


def test_only_the_orchestrator_reaches_the_database(stack: Stack) -> None:
    stack.inside("orchestrator", "python", "-c", DIALS, "postgres", "5432")
    address = stack.inside(
        "orchestrator", "python", "-c", "import socket; print(socket.gethostbyname('postgres'))"
    )
    for service in ("executor", "planner", "approval"):
        for target in ("postgres", address.strip()):
            done = stack.inside(
                service, "sh", "-c", 'python -c "$1" "$2" 5432 2>/dev/null && echo reached || echo not', "sh",
                DIALS, target,
            )  # fmt: skip
            assert done.strip() == "not", (service, target)


def test_only_the_planner_holds_the_models_settings_and_only_the_orchestrator_the_databases(
    stack: Stack,
) -> None:
    for service in SERVICES:
        names = {line.partition("=")[0] for line in stack.inside(service, "env").splitlines()}
        assert ("INTERLOCK_MODEL_API_KEY" in names) == (service == "planner")
        assert ("INTERLOCK_DATABASE_URL" in names) == (service == "orchestrator")


def test_another_token_is_refused(stack: Stack) -> None:
    done = stack.interlock("run", "list", token="f" * 32, code=6)
    assert "UNAUTHENTICATED" in done.stderr
