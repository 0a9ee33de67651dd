"""A whole installation: `interlock up` as real processes on a data directory of its own.

    with running(INTERLOCK_MODEL_GATEWAY="local") as up:
        async with up.client() as client:
            …
        up.kill("executor")

The directories can be entered by the user that steps run as; nothing may be left running at the end.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from interlock.client import Client, Retry

INTERLOCK = (sys.executable, "-m", "interlock.cli")
SECONDS = 100
SERVICES = ("orchestrator", "executor", "planner", "approval")


@dataclass
class Installation:
    """Directories, environment, and what runs on them."""

    home: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    endpoints: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """The environment of `up` and of every command on it."""
        return {
            **os.environ,
            "INTERLOCK_DATA_DIR": str(self.home / "data"),
            "INTERLOCK_EXECUTOR_DIR": str(self.home / "executor"),
            "INTERLOCK_POSTGRES_DIR": str(self.home / "postgres"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.extra,
        }

    def client(self, *, patient: bool = False) -> Client:
        """The SDK on it, with its token; a patient one waits out the time until a killed service is back."""
        found = self.endpoints
        return Client(
            directory=self.home / "data",
            orchestrator=found.get("orchestrator", ""),
            executor=found.get("executor", ""),
            planner=found.get("planner", ""),
            approval=found.get("approval", ""),
            retry=Retry(seconds=100, longest=0.5) if patient else None,
        )

    def project(self, **files: str) -> Path:
        """A new directory with these files; `__` in a name stands for `.`, `___` for `/`."""
        directory = Path(tempfile.mkdtemp(prefix="project-", dir=self.home))
        directory.chmod(0o755)
        for name, content in files.items():
            path = directory / name.replace("___", "/").replace("__", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return directory

    def start(self, *options: str) -> None:
        """`interlock up` on free ports, until every service serves."""
        errors = open(self.home / "up.log", "w", encoding="utf-8")  # noqa: SIM115 (the child's)
        self.process = subprocess.Popen(
            [*INTERLOCK, "up", "--port-base", "0", "-o", "jsonl", *options], env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        errors.close()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log()
        services = json.loads(line)["services"]
        assert all(each["serving"] for each in services), services
        self.endpoints = {each["service"]: each["address"] for each in services}

    def stop(self) -> None:
        """Ctrl-C, and nothing is left."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
        assert process.returncode == 0, self.log()

    def log(self, service: str = "") -> str:
        """What a service wrote, or `up` itself."""
        path = self.home / "data" / "logs" / f"{service}.log" if service else self.home / "up.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def pid(self, service: str) -> int:
        """The service's process at the moment; 0 between a death and its successor."""
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children():
            try:
                if f"interlock.{service}" in child.cmdline():
                    return child.pid
            except psutil.Error:
                continue
        return 0

    def kill(self, *services: str) -> None:
        """SIGKILL, all in one instant; the supervisor starts them again."""
        pids = [self.pid(service) for service in services]
        assert all(pids), f"not running: {services} {pids}"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to it."""
        mark, found = str(self.home), []
        for process in psutil.process_iter():
            try:
                texts = [*process.cmdline(), *process.environ().values()]
                if process.status() != psutil.STATUS_ZOMBIE and any(mark in text for text in texts):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@contextmanager
def installed(**extra: str) -> Iterator[Installation]:
    """Directories for an installation that is not started; removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="interlock-e2e-"))
    home.chmod(0o711)
    installation = Installation(home, extra)
    try:
        yield installation
    finally:
        installation.stop()
        left = [" ".join(process.cmdline()) for process in installation.processes()]
        shutil.rmtree(home, ignore_errors=True)
        assert left == []


@contextmanager
def running(**extra: str) -> Iterator[Installation]:
    """An installation whose services run."""
    with installed(**extra) as installation:
        installation.start()
        yield installation


def snapshot(directory: Path) -> dict[str, Any]:
    """Every entry below a directory: kind, permission bits, and content or target, byte for byte."""
    found: dict[str, Any] = {}
    for path in sorted(directory.rglob("*")):
        mode = path.lstat().st_mode
        content: Any = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(directory))] = (oct(mode), content)
    return found


def wait_until(condition: Any, seconds: float = SECONDS, what: str = "") -> Any:
    """The condition's first true value. For what happens in other processes."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, what or condition
        time.sleep(0.02)
    return value
