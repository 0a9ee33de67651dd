"""The whole of docker-compose.yml, running. `make test-containers` prepares the engine: see scripts/containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.installation import wait_until

SERVICES = ("orchestrator", "executor", "planner", "approval", "gateway")
UID = 10001
SECONDS = 120
# Images have no ps.
_LIST = """
import glob, os
for path in glob.glob("/proc/[0-9]*"):
    try:
        words = open(path + "/cmdline", "rb").read().split(b"\\0")
        name = open(path + "/comm").read().strip()
        print(os.stat(path).st_uid, name, ascii(b" ".join(words).decode(errors="replace")))
    except OSError:
        pass
"""


@dataclass(frozen=True)
class Stack:
    """The containers, the engine's commands, and the command line of Interlock against the published ports."""

    run: str
    compose_command: str
    shared: Path
    token: str
    home: Path

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Standard output of a compose command."""
        return _output([self.compose_command, *arguments], check)

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Standard output of a docker command."""
        return _output([self.run, "docker", *arguments], check)

    def container(self, service: str) -> str:
        """The id of a service's container, running or not."""
        label = f"label=com.docker.compose.service={service}"
        found = self.docker("ps", "--all", "--quiet", "--no-trunc", "--filter", label)
        assert len(found.split()) == 1, (service, found)
        return found.strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", self.container(service)))
        return found[0]

    def inside(self, service: str, *command: str, check: bool = True) -> str:
        """Standard output of a command in a service's container."""
        return self.docker("exec", self.container(service), *command, check=check)

    def health(self, service: str) -> str:
        """`starting`, `healthy` or `unhealthy`, or the state of a container that does not run."""
        state = self.inspect(service)["State"]
        if not state["Running"]:
            return str(state["Status"])
        return str(state["Health"]["Status"])

    def healthy(self, *services: str) -> None:
        """Wait until they are."""
        for service in services:
            wait_until(
                lambda name=service: self.health(name) == "healthy", SECONDS, f"{service} is not healthy"
            )

    def kill(self, service: str) -> None:
        """SIGKILL of the container's first process, from outside: no engine is asked, so its restart policy holds."""
        pid = self.inspect(service)["State"]["Pid"]
        assert pid > 1
        _output([self.run, "sh", "-c", f"kill -KILL {pid}"], True)

    def interlock(
        self, *arguments: str, token: str = "", code: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """The command line on this machine against the published ports."""
        options = ["--server", "127.0.0.1:7401", "--token", token or self.token, "--data-dir", str(self.home)]
        done = subprocess.run(
            [sys.executable, "-m", "interlock.cli", *arguments, *options, "--no-input"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *arguments: str, code: int | None = 0) -> Any:
        """What a command prints with -o json."""
        return json.loads(self.interlock(*arguments, "-o", "json", code=code).stdout)

    def project(self, **files: str) -> tuple[Path, str]:
        """A new directory with these files (`__` in a name stands for `.`): its path here, and in the executor."""
        name = f"project-{uuid.uuid4().hex[:12]}"
        here = self.shared / name
        here.mkdir()
        for file, content in files.items():
            (here / file.replace("__", ".")).write_text(content)
        for path in (here, *here.iterdir()):
            os.chown(path, UID, UID)
        return here, f"/workspaces/{name}"

    def archive(self, **files: str) -> str:
        """As `project`, packed: the archive's path in the executor."""
        here, _ = self.project(**files)
        packed = here.with_suffix(".tar.gz")
        with tarfile.open(packed, "w:gz") as archive:
            for path in here.iterdir():
                archive.add(path, path.name)
        return f"/workspaces/{packed.name}"

    def plan(self, *steps: str) -> str:
        """A plan file of these steps (YAML)."""
        path = self.home / f"plan-{uuid.uuid4().hex[:12]}.yaml"
        head = "goal: containers\npolicy: {steps_may_weaken: true}\nsteps:\n"
        path.write_text(head + "".join(f"  - {step}\n" for step in steps))
        return str(path)

    def start(self, workspace: str, *steps: str) -> str:
        """The id of a started run of these steps."""
        return str(self.json("run", "start", "--workspace", workspace, "--plan", self.plan(*steps))["runId"])

    def ended(self, run: str) -> Any:
        """The run, once it has ended or waits for a person."""
        waited = self.interlock("run", "wait", run, "--timeout", "100s", code=None)
        found = self.json("run", "get", run)
        assert found["state"] != "RUN_STATE_RUNNING", (waited.returncode, waited.stdout, waited.stderr)
        return found

    def processes(self, service: str, words: str) -> list[tuple[str, str]]:
        """Uid, as the container sees it, and name and command line of its processes where these contain the words."""
        rows = [line.partition(" ") for line in self.inside(service, "python", "-c", _LIST).splitlines()]
        return [(uid, line) for uid, _, line in rows if words in line and "glob.glob" not in line]

    def wait_for_process(self, service: str, words: str) -> list[tuple[str, str]]:
        """Its processes, once there are some."""
        found = wait_until(lambda: self.processes(service, words), SECONDS, f"no {words} in {service}")
        assert isinstance(found, list)
        return found

    def wait_for_no_process(self, service: str, words: str) -> None:
        """Until there is none."""
        wait_until(lambda: not self.processes(service, words), SECONDS, f"{words} is left in {service}")

    def up(self) -> None:
        """Start what does not run, until everything is healthy."""
        self.compose("up", "--no-build", "--wait", "--wait-timeout", "240")
        self.healthy("postgres", *SERVICES)


def _output(command: list[str], check: bool) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )
    assert not check or done.returncode == 0, (command[1:], done.returncode, done.stdout, done.stderr)
    return done.stdout


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.interop)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything up and healthy; at the end down, with its volumes."""
    if "CONTAINERS_RUN" not in os.environ:
        pytest.fail("No engine was prepared: run `make test-containers`.")
    found = Stack(
        os.environ["CONTAINERS_RUN"],
        os.environ["CONTAINERS_COMPOSE"],
        Path(os.environ["CONTAINERS_SHARED"]),
        os.environ["CONTAINERS_TOKEN"],
        tmp_path_factory.mktemp("cli"),
    )
    try:
        found.up()
        yield found
    finally:
        print(found.compose("logs", "--no-color", "--tail", "40", check=False))
        found.compose("down", "--volumes", check=False)
