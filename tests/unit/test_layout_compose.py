"""What can be said about the containers without an engine: nothing dangling, nothing more allowed than is needed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from interlock.common.config import DEFAULT_PORTS

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "deploy/docker"
OURS = ["orchestrator", "executor", "planner", "approval", "gateway"]
FOR_BUBBLEWRAP = {"clone", "unshare", "mount", "umount2", "pivot_root", "sethostname"}
PRIVILEGED = [
    *("add_key", "keyctl", "request_key", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup"),
    *("delete_module", "finit_module", "init_module", "kexec_load", "reboot", "swapon", "quotactl", "syslog"),
    *("fsconfig", "fsmount", "fsopen", "move_mount", "open_tree", "chroot", "clone3"),
    *(
        "lookup_dcookie",
        "open_by_handle_at",
        "pidfd_getfd",
        "process_vm_readv",
        "process_vm_writev",
        "ptrace",
    ),
    "settimeofday",
]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.fixture(scope="module")
def seccomp() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DOCKER / "seccomp-executor.json").read_text())
    return loaded


def allowed(profile: dict[str, Any]) -> set[str]:
    return {n for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for n in rule["names"]}


def variables(text: str) -> set[str]:
    return set(re.findall(r"\$\{([A-Z_]+)", text))


def stages() -> set[str]:
    return set(re.findall(r"^FROM \S+ AS (\S+)$", (DOCKER / "Dockerfile").read_text(), re.M))


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_as_little_as_it_can(name: str) -> None:
    service = SERVICES[name]
    assert int(service["user"].split(":")[0]) > 0
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["read_only"] is True
    assert not service.get("privileged")
    assert not {"network_mode", "pid", "ipc", "userns_mode", "devices"} & service.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_refers_to_is_there(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        assert service["build"]["target"] in stages()
    assert set(service["networks"]) <= COMPOSE["networks"].keys()
    assert set(service.get("depends_on", {})) <= SERVICES.keys()
    for other, how in service.get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
    for volume in service.get("volumes", []):
        source = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", volume).split(":")[0]
        assert source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", OURS)
def test_ports_are_the_documented_ones_and_only_on_loopback(name: str) -> None:
    service, port = SERVICES[name], DEFAULT_PORTS[name]
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert service["environment"][f"INTERLOCK_{name.upper()}_ADDRESS"] == f"{name}:{port}"
    assert service["healthcheck"]["test"][-1] == f"{name}:{port}"
    assert f"EXPOSE {port}\n" in (DOCKER / "Dockerfile").read_text()


def test_only_the_orchestrator_reaches_the_database() -> None:
    near = {name for name, service in SERVICES.items() if "data" in service["networks"]}
    assert near == {"postgres", "migrate", "orchestrator"}
    assert COMPOSE["networks"]["data"] == {"internal": True}
    assert {n for n in SERVICES if "INTERLOCK_DATABASE_URL" in SERVICES[n]["environment"]} == near - {
        "postgres"
    }
    assert "ports" not in SERVICES["postgres"]


def test_only_the_executor_is_loosened_and_says_how() -> None:
    special = {name for name, service in SERVICES.items() if len(service["security_opt"]) > 1}
    assert special == {"executor"}
    options = SERVICES["executor"]["security_opt"]
    profile = next(o.split(":", 1)[1] for o in options if o.startswith("seccomp:"))
    assert (ROOT / profile).is_file()
    assert "systempaths=unconfined" in options
    assert any(o.startswith("apparmor=") for o in options)


@pytest.mark.parametrize(
    ("service", "key"), [("planner", "INTERLOCK_MODEL_API_KEY"), ("orchestrator", "INTERLOCK_WEBHOOK_KEY")]
)
def test_a_key_is_given_to_the_service_that_uses_it_alone(service: str, key: str) -> None:
    assert {n for n in SERVICES if key in SERVICES[n].get("environment", {})} == {service}


def test_every_variable_is_explained_or_has_a_default() -> None:
    explained = set(re.findall(r"^#?([A-Z_]+)=", (DOCKER / "env.example").read_text(), re.M))
    used = variables((ROOT / "docker-compose.yml").read_text())
    assert {v for v in used if not v.startswith("OTEL_")} == explained


@pytest.mark.parametrize("name", OURS)
def test_a_service_reads_every_variable_it_is_given(name: str) -> None:
    roots = [ROOT / "services/common", ROOT / "services" / name]
    source = "\n".join(p.read_text() for root in roots for p in root.rglob("*.py"))
    # Addresses are read under a name that is put together.
    given = {
        v for v in SERVICES[name]["environment"] if v.startswith("INTERLOCK_") and not v.endswith("_ADDRESS")
    }
    assert {v for v in given if v not in source} == set()


def test_what_images_are_built_from_is_in_their_context() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) ", (DOCKER / "Dockerfile").read_text(), re.M)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert copied
    for path in copied:
        assert (ROOT / path).exists()
        assert any(path == each or (each.endswith("/") and path.startswith(each)) for each in let_in), path


def test_images_do_not_run_as_root() -> None:
    stages_text = re.split(r"^FROM ", (DOCKER / "Dockerfile").read_text(), flags=re.M)[1:]
    users = {
        stage.split("\n")[0].split(" AS ")[1]: re.findall(r"^USER (\S+)", stage, re.M)
        for stage in stages_text
    }
    assert users["service"][-1] == "10001:10001"
    assert all(users[name][-1:] in ([], ["10001:10001"]) for name in OURS)


def test_seccomp_denies_by_default_and_allows_what_bubblewrap_needs(seccomp: dict[str, Any]) -> None:
    assert seccomp["defaultAction"] == "SCMP_ACT_ERRNO"
    assert allowed(seccomp) >= FOR_BUBBLEWRAP | {
        "openat2",
        "seccomp",
        "landlock_create_ruleset",
        "futex_waitv",
    }


@pytest.mark.parametrize("call", PRIVILEGED)
def test_seccomp_allows_nothing_else_of_the_privileged_calls(seccomp: dict[str, Any], call: str) -> None:
    assert call not in allowed(seccomp)


def test_seccomp_lets_nobody_into_namespaces_but_for_a_steps_proxy(seccomp: dict[str, Any]) -> None:
    """CLONE_NEWUSER and CLONE_NEWNET; without a kind (0) a caller would enter whatever the descriptor is of."""
    rules = [rule for rule in seccomp["syscalls"] if "setns" in rule["names"]]
    assert [rule["names"] for rule in rules] == [["setns"]] * 2
    assert [rule["args"] for rule in rules] == [
        [{"index": 1, "value": kind, "op": "SCMP_CMP_EQ"}] for kind in (0x10000000, 0x40000000)
    ]


def test_seccomp_is_well_formed(seccomp: dict[str, Any]) -> None:
    for rule in seccomp["syscalls"]:
        assert rule["names"] == sorted(set(rule["names"]))
        assert rule["comment"]
        assert rule["action"] in {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"}
    clone3 = [rule for rule in seccomp["syscalls"] if "clone3" in rule["names"]]
    assert [rule["errnoRet"] for rule in clone3] == [38]
