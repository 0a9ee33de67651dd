"""Programs started as somebody who is not root, by tests that are run by root."""

from __future__ import annotations

import pwd
import site
import subprocess
import sys
from pathlib import Path

import pytest

SYSTEM_PYTHON = Path("/usr/bin/python3")


def as_user(
    uid: int, *command: str, env: dict[str, str] | None = None, seconds: int = 100
) -> tuple[int, str, str]:
    """Run it with that uid and gid, and none of root's groups."""
    done = subprocess.run(
        command, user=uid, group=uid, extra_groups=[], env=env, cwd="/", stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def someone() -> int:
    """The uid of a user of this machine that no service runs as. PostgreSQL wants one with a name."""
    names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return next(names[name] for name in ("games", "nobody", "daemon") if name in names)


def python_for(uid: int, home: Path) -> str:
    """An interpreter this user can run, which finds what is installed here. Skips the test where there is none.

    The tests' own, or else the system's of the same version in a virtual environment that borrows the installed
    packages by a path file: nothing is copied.
    """
    if runs(uid, sys.executable, "-c", "import interlock.cli"):
        return sys.executable
    version = f"import sys; assert sys.version_info[:2] == {sys.version_info[:2]}"
    if not SYSTEM_PYTHON.exists() or not runs(uid, str(SYSTEM_PYTHON), "-c", version):
        pytest.skip(f"uid {uid} can execute neither {sys.executable} nor a {SYSTEM_PYTHON} of its version")
    venv = home / "venv"
    code, _, errors = as_user(uid, str(SYSTEM_PYTHON), "-m", "venv", "--without-pip", str(venv))
    assert code == 0, errors
    packages = venv / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "borrowed.pth"
    borrowed = next(path for path in site.getsitepackages() if path.startswith(sys.prefix))
    packages.write_text(f"import site; site.addsitedir({borrowed!r})\n")
    assert runs(uid, str(venv / "bin" / "python"), "-c", "import interlock.cli"), "the packages are readable"
    return str(venv / "bin" / "python")


def runs(uid: int, *command: str) -> bool:
    """Whether that user can run it to a good end."""
    try:
        return as_user(uid, *command, env={"PATH": "/usr/bin:/bin"})[0] == 0
    except PermissionError:
        return False
