"""Where the embedded server keeps its files and which uid it runs as.

An ordinary user's server runs as that user. PostgreSQL refuses to run as root, so root's server runs as a
uid of its own, with its files outside root's home, which no other uid can enter.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from interlock.common.config import data_dir, env_path
from interlock.common.errors import InterlockError, Reason

SERVER_UID: Final = 64032
"""The uid of root's server: in the range that distributions leave to fixed allocations, so that it is neither
a person nor the uid that steps run as."""


@dataclass(frozen=True, slots=True)
class Account:
    """A uid and gid to run server programs with; `drop` says that the caller is root and must change to it."""

    uid: int
    gid: int
    drop: bool

    def popen(self) -> dict[str, Any]:
        """Arguments for `subprocess` that make the program run as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.drop else {}

    def own(self, path: Path) -> None:
        """Gives the path to this account (only root can, and only root needs to)."""
        if self.drop:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def postgres_dir() -> Path:
    """`INTERLOCK_POSTGRES_DIR`, else `<data>/postgres`, else for root
    `/var/lib/interlock/<first 12 hex of sha256(data dir path)>/postgres`. Not created."""
    data = data_dir()
    default = data / "postgres"
    if os.geteuid() == 0:
        tag = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
        default = Path("/var/lib/interlock") / tag / "postgres"
    return env_path("INTERLOCK_POSTGRES_DIR", default)


def server_account(data: Path) -> Account:
    """The account that owns (or will own) the cluster in `data`."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), drop=False)
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid, drop=True)
    return Account(SERVER_UID, SERVER_UID, drop=True)


def initdb_account(server: Account) -> Account:
    """The account that `initdb` runs as: it insists on one that has a name, the server does not.

    Raises DATABASE_UNAVAILABLE where there is none.
    """
    if _named(server.uid):
        return server
    if not server.drop:
        raise InterlockError(
            Reason.DATABASE_UNAVAILABLE,
            f"The embedded database cannot be created: uid {server.uid}, which this process runs as, has no name "
            "(no entry in /etc/passwd), and PostgreSQL's initdb needs one.",
            fix="Run as a uid that has an entry, add one for this uid (`useradd --uid`; in a container, in its "
            "image), or set INTERLOCK_DATABASE_URL to a PostgreSQL server.",
        )
    for name in ("nobody", "daemon", "postgres"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, drop=True)
    raise InterlockError(
        Reason.DATABASE_UNAVAILABLE,
        "The embedded database cannot be created as root: this system has no unprivileged account.",
        fix="Add one (`useradd --system postgres`), or set INTERLOCK_DATABASE_URL to a PostgreSQL server.",
    )


def closed_to(path: Path, account: Account) -> Path | None:
    """The first directory on the way to `path`, itself included, that the account cannot enter."""
    if not account.drop:
        return None
    real = path.resolve()
    return next((part for part in (*reversed(real.parents), real) if not _can_enter(part, account)), None)


def _can_enter(path: Path, account: Account) -> bool:
    status = path.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _named(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
