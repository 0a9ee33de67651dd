"""The command on a data directory of the tests' own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from typer.testing import CliRunner, Result

from interlock.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
INTERLOCK = [sys.executable, "-m", "interlock.cli"]
SECONDS = 100


@dataclass
class Installation:
    """A data directory of the tests' own, and the command on it."""

    home: Path

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "INTERLOCK_DATA_DIR": str(self.home / "data"),
            "INTERLOCK_EXECUTOR_DIR": str(self.home / "executor"),
            "INTERLOCK_POSTGRES_DIR": str(self.home / "postgres"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def __call__(self, *arguments: str, code: int = 0) -> Result:
        """Run the command in this process: its start-up is not what is tested here."""
        env: dict[str, str | None] = {name: self.env.get(name) for name in {*os.environ, *self.env}}
        done = CliRunner().invoke(app, arguments, env=env, prog_name="interlock")
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == code, (arguments, done.stdout, done.stderr)
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "-o", "json", code=code).stdout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*INTERLOCK, *arguments], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to this installation."""
        mark, found = str(self.home), []
        for process in psutil.process_iter():
            try:
                texts = [*process.cmdline(), *process.environ().values()]
            except psutil.Error:
                continue
            if process.status() != psutil.STATUS_ZOMBIE and any(mark in text for text in texts):
                found.append(process)
        return found


def plan(directory: Path, *steps: str, goal: str = "try it") -> str:
    path = directory.parent / f"{directory.name}.yaml"
    path.write_text(f"goal: {goal}\nsteps:\n" + "".join(f"  - {step}\n" for step in steps))
    return str(path)


READ = "read_file: {path: a.py}"
EDIT = '{edit_file: {path: b.txt, new_content: "new\\n"}}'
RUN = "{run_command: {command: 'echo out; echo err >&2; cat b.txt > c.txt'}, gate: effect}"
SLOW = "{run_command: {command: 'echo started; sleep 300'}, gate: command}"
FALSE = "{run_command: {command: 'exit 7'}, gate: command}"


def execute(interlock: Installation, project: Path, *steps: str, code: int = 0, approve: str = "all") -> Any:
    given = ["run", "exec", "-w", str(project), "--plan", plan(project, *steps), "--approve", approve]
    return interlock.json(*given, code=code)
