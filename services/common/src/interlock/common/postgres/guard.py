"""Stops the embedded server when its last user is gone, even if that user was killed.

Run as a script (`python -I -S guard.py DIRECTORY`) it needs the standard library only. It waits in the
background for the exclusive lock on `users.lock`, of which every user of the server holds a shared lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

STOP_SECONDS = 20.0


def server_pid(data: Path) -> int | None:
    """The pid of the running postmaster of this cluster; None if its pid file is missing or stale.

    A pid may have been given to another program since: a postmaster's working directory is its cluster.
    """
    try:
        pid = int((data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").split("\n", 1)[0])
    except (OSError, ValueError):
        return None
    return pid if pid > 0 and _works_in(pid, data) else None


def stop_server(data: Path) -> bool:
    """Fast shutdown (clients are cut off, data is checkpointed); immediate after a while. False if not running."""
    pid = server_pid(data)
    if pid is None:
        return False
    for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if _gone(pid, data, seconds):
            return True
    return True


def _works_in(pid: int, data: Path) -> bool:
    if sys.platform != "linux":
        return _command_of(pid).endswith("postgres")
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", data)
    except OSError:  # no such process, a zombie, or another user's
        return False


def _command_of(pid: int) -> str:
    found = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _gone(pid: int, data: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _works_in(pid, data):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _main(directory: Path) -> None:
    guard = os.open(directory / "guard.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if os.fork():
        return
    os.setsid()
    users = os.open(directory / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(users, fcntl.LOCK_EX)
    stop_server(directory / "data")
    # In this order: whoever next gets a share of `users` must find that there is no guard any more.
    os.close(guard)
    os.close(users)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
