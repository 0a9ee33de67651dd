"""The embedded server's life: created, started or joined, and stopped by its last user.

Files in the directory: `data` (the cluster), `socket`, `postgres.log`, and three lock files. `start.lock`
serialises starting and stopping. Every user holds a share of `users.lock`, so the kernel knows who is left,
also after a kill -9; `guard.lock` is held by the background process that waits for the last of them to go.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

from interlock.common.errors import InterlockError, Reason
from interlock.common.postgres import guard
from interlock.common.postgres.account import Account, closed_to, initdb_account, server_account
from interlock.common.postgres.binaries import MAJOR, find_binaries
from interlock.common.postgres.locks import FileLock

USER: Final = "interlock"
DATABASE: Final = "interlock"
SETTINGS: Final[Mapping[str, str]] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
    "listen_addresses": "",
    "log_checkpoints": "off",
    "log_min_error_statement": "panic",  # statements hold people's data; the log must not
    "max_wal_size": "1GB",
    "unix_socket_permissions": "0700",
}
_LOCK_SECONDS = 60.0
_START_SECONDS = 30
_ORPHAN_SECONDS = 15.0
_LOG_BYTES = 4 * 1024 * 1024
_SOCKET_PATH_MAX = 90  # sun_path holds 104 to 108 bytes; the server adds "/.s.PGSQL.5432"


class EmbeddedPostgres:
    """A PostgreSQL server of one directory, shared by all processes that start it there.

    `start` creates the cluster if there is none, starts the server or joins the running one, and returns its
    URL; `stop` leaves, and stops the server when nobody else uses it. If a user is killed, the server stops
    by itself once no user is left; a killed server recovers at the next `start` (also on the same object).
    Blocking calls (milliseconds to join, under two seconds to start, a few to create). Not thread-safe.

    Args:
        directory: created if missing; for root, every directory above it must be open to other users.
        settings: server settings on top of SETTINGS; they apply when this call starts the server.
    Raises DATABASE_UNAVAILABLE from `start` with what is wrong and what to do.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        self.directory = Path(directory).absolute()
        self.data = self.directory / "data"
        self._settings = {**SETTINGS, **(settings or {})}
        self._users: FileLock | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database `interlock`."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """SQLAlchemy URL of one of the server's databases."""
        host = quote(str(self._socket_dir()), safe="")
        return f"postgresql+psycopg://{USER}@/{quote(database, safe='')}?host={host}"

    @property
    def pid(self) -> int | None:
        """The postmaster's pid; None when it is not running."""
        return guard.server_pid(self.data)

    def start(self) -> str:
        """Starts or joins the server; calling it again restarts a server that has died."""
        account = self._prepare_directory()
        with FileLock(self.directory / "start.lock") as starting:
            starting.acquire(_LOCK_SECONDS)
            users = self._users or FileLock(self.directory / "users.lock")
            users.acquire(_LOCK_SECONDS, shared=True)
            try:
                self._ensure_guard()
                self._ensure_running(account)
            except BaseException:
                if self._users is None:
                    users.release()
                raise
            self._users = users
        return self.url

    def stop(self) -> bool:
        """Leaves the server. True if this was its last user, so that now no process of it is left."""
        if self._users is None:
            return False
        with FileLock(self.directory / "start.lock") as starting:
            starting.acquire(_LOCK_SECONDS)
            users, self._users = self._users, None
            with users:
                while not users.try_acquire():
                    # A share can be had beside other users, but not while the guard is stopping the server.
                    if users.try_acquire(shared=True):
                        return False
                guard.stop_server(self.data)
            with FileLock(self.directory / "guard.lock") as guarding:
                guarding.acquire(_LOCK_SECONDS)
        return True

    def _prepare_directory(self) -> Account:
        account = server_account(self.data)
        if not self.data.is_dir():
            initdb_account(account)  # said before anything is started
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o711)
            if account.drop:
                self.directory.chmod(0o711)
        except OSError as error:
            raise _cannot(f"cannot use {self.directory}: {error.strerror}") from None
        if closed := closed_to(self.directory, account):
            raise _cannot(f"uid {account.uid}, which it runs as, cannot enter {closed}")
        return account

    def _ensure_running(self, account: Account) -> None:
        if self.pid is not None:
            return
        programs = find_binaries(account)
        self._ensure_cluster(programs, account)
        self._ensure_socket_dir(account)
        self._forget_stale_pid()
        self._launch(programs, account)

    def _ensure_guard(self) -> None:
        # Returns at once: it goes on in the background, or finds that there is one already.
        subprocess.run(
            [sys.executable, "-I", "-S", guard.__file__, str(self.directory)], check=True, **_QUIET
        )

    def _ensure_cluster(self, programs: Path, account: Account) -> None:
        if self.data.is_dir():
            self._check_cluster(account)
            return
        fresh = self.directory / "data.new"  # renamed when complete: a half-made cluster is never used
        shutil.rmtree(fresh, ignore_errors=True)
        maker = initdb_account(account)
        fresh.mkdir(mode=0o700)
        maker.own(fresh)
        command = [str(programs / "initdb"), "-D", str(fresh), "-U", USER, "--auth=trust", "--encoding=UTF8"]
        command += ["--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions"]
        made = subprocess.run(command, env=_ENV, cwd="/", check=False, **_CAPTURED, **maker.popen())
        if made.returncode:
            raise _cannot(f"initdb failed: {_last_line(made.stderr)}")
        for path in (fresh, *fresh.rglob("*")):
            account.own(path)
        fresh.rename(self.data)

    def _check_cluster(self, account: Account) -> None:
        try:
            version = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        except OSError as error:
            raise _cannot(f"cannot read the cluster in {self.data}: {error.strerror}") from None
        if version != str(MAJOR):
            raise _cannot(f"the cluster in {self.data} was made by PostgreSQL {version}, this is {MAJOR}")
        if self.data.stat().st_uid != account.uid:
            raise _cannot(f"the cluster in {self.data} belongs to another user")

    def _socket_dir(self) -> Path:
        path = self.directory / "socket"
        if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
            return path
        tag = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"interlock-pg-{os.geteuid()}-{tag}"

    def _ensure_socket_dir(self, account: Account) -> None:
        path = self._socket_dir()
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
            account.own(path)
        status = path.lstat()
        # Whoever can enter this directory is the database's superuser.
        if path.is_symlink() or status.st_uid != account.uid or status.st_mode & 0o077:
            raise _cannot(f"{path} is not a private directory of uid {account.uid}; remove it")

    def _forget_stale_pid(self) -> None:
        """Called when the pid file names no postmaster of this cluster.

        The pid may by now be another program's, which the server would take for a rival and refuse to start.
        Only the pid is replaced, by one that cannot exist: the rest lets the server see for itself whether
        processes of its predecessor are still attached to shared memory.
        """
        path = self.data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError):
            lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
            path.write_text("\n".join(["2147483646", *lines[1:]]), encoding="utf-8")
        # The socket's lock file says the same about the socket only, which is this directory's alone.
        for left in self._socket_dir().glob(".s.PGSQL.*"):
            left.unlink()

    def _launch(self, programs: Path, account: Account) -> None:
        log = self._fresh_log(account)
        options = {**self._settings, "unix_socket_directories": f'"{self._socket_dir()}"'}
        flags = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in options.items())
        command = [str(programs / "pg_ctl"), "start", "-w", "-t", str(_START_SECONDS), "-s"]
        command += ["-D", str(self.data), "-l", str(log), "-o", flags]
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while not self._started(command, account):
            said = _log_tail(log)
            if "shared memory block" not in said or time.monotonic() > deadline:
                raise _cannot(f"the server did not start; {log} says: {said}")
            time.sleep(0.1)  # processes of a killed server have yet to notice that it is gone
        self._ensure_database(programs, account)

    def _started(self, command: list[str], account: Account) -> bool:
        # A session of its own: Ctrl-C in the terminal is for the user of the server, not for the server.
        done = subprocess.run(
            command, env=_ENV, cwd="/", check=False, start_new_session=True, **_QUIET, **account.popen()
        )
        return done.returncode == 0 and self.pid is not None

    def _ensure_database(self, programs: Path, account: Account) -> None:
        marker = self.data / "interlock.created"
        if marker.exists():
            return
        command = [str(programs / "createdb"), "-h", str(self._socket_dir()), "-U", USER, DATABASE]
        done = subprocess.run(command, env=_ENV, cwd="/", check=False, **_CAPTURED, **account.popen())
        if done.returncode and "already exists" not in done.stderr:
            raise _cannot(f"the database could not be created: {_last_line(done.stderr)}")
        marker.touch(mode=0o600)

    def _fresh_log(self, account: Account) -> Path:
        log = self.directory / "postgres.log"
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > _LOG_BYTES:
                log.replace(log.with_suffix(".log.1"))
        log.touch(mode=0o600)
        account.own(log)
        return log


_ENV: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_QUIET: Final[dict[str, Any]] = {
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.DEVNULL,
    "stderr": subprocess.DEVNULL,
}
_CAPTURED: Final[dict[str, Any]] = {
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.DEVNULL,
    "stderr": subprocess.PIPE,
    "text": True,
    "errors": "replace",
}


def _cannot(what: str) -> InterlockError:
    return InterlockError(
        Reason.DATABASE_UNAVAILABLE,
        f"The embedded database cannot be started: {what}.",
        field="INTERLOCK_POSTGRES_DIR",
        fix="Correct that, choose another INTERLOCK_POSTGRES_DIR, or set INTERLOCK_DATABASE_URL.",
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"


def _log_tail(log: Path) -> str:
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        lines = file.read().decode("utf-8", "replace").splitlines()
    wanted = [line for line in lines if "FATAL" in line or "PANIC" in line or "HINT" in line]
    return " · ".join(line.strip()[:300] for line in wanted[-3:]) or _last_line("\n".join(lines))
