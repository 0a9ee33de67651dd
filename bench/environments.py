"""The peers' environments: one virtual environment each, from lock files with hashes, and Restate's server from npm.

They are kept in `build/bench` and made anew only when their lock file has changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = Path(os.environ.get("BENCH_HOME", HERE.parent / "build" / "bench"))
_INSTALL_SECONDS = 300


class NotInstalledError(Exception):
    """Why an engine cannot be measured here, in a line."""


def python(name: str) -> str:
    """The interpreter of a peer's environment, installed now if it is not there. Raises NotInstalledError."""
    lock = HERE / "requirements" / f"{name}.txt"
    place = HOME / name
    if not _is_current(place, lock):
        shutil.rmtree(place, ignore_errors=True)
        _run([sys.executable, "-m", "venv", "--without-pip", str(place)], name)
        found = place / "bin" / "python"
        install = [_uv(), "pip", "install", "--quiet", "--python", str(found)]
        _run([*install, "--require-hashes", "-r", str(lock)], name)
        _mark(place, lock)
    return str(place / "bin" / "python")


def restate_server() -> str:
    """Restate's server program, installed now if it is not there. Raises NotInstalledError."""
    lock = HERE / "npm" / "package-lock.json"
    place = HOME / "npm"
    if not _is_current(place, lock):
        npm = shutil.which("npm")
        if npm is None:
            raise NotInstalledError("npm is not installed")
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(HERE / "npm", place)
        _run([npm, "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], "restate-server", place)
        _mark(place, lock)
    found = sorted(place.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"))
    if not found:
        raise NotInstalledError("npm has no restate-server for this platform")
    return str(found[0])


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise NotInstalledError("uv is not installed")
    return found


def _run(command: list[str], name: str, where: Path | None = None) -> None:
    HOME.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            command, cwd=where, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"installing {name} took more than {_INSTALL_SECONDS} s") from None
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise NotInstalledError(f"installing {name} failed: {said[-1][:200] if said else 'no message'}")


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _is_current(place: Path, lock: Path) -> bool:
    mark = place / ".lock-digest"
    return mark.exists() and mark.read_text() == _digest(lock)


def _mark(place: Path, lock: Path) -> None:
    (place / ".lock-digest").write_text(_digest(lock))
