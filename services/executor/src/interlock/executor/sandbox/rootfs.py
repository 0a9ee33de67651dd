"""What a step sees besides its workspace, as mount arguments for bubblewrap.

Never a mount target below the workspace: with bubblewrap before 0.12 a symlink planted there would make the runner
create files on the host. `check_target` refuses such targets, and the workspace is the last thing mounted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.base import WORKSPACE
from interlock.executor.sandbox.environment import HOME, HOSTNAME, INNER_UID

_LINKS: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_OWN: Final = frozenset({"proc", "sys", "dev", "tmp", "workspace"})  # never taken from a root file system
HOST_ETC: Final = (
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "ssl/certs",
    "ssl/openssl.cnf",
    "pki",
)
_FORBIDDEN: Final = (WORKSPACE, "/proc", "/dev", "/sys", "/tmp")  # noqa: S108 - inside the sandbox

ETC: Final = {
    "passwd": f"root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nstep:x:{INNER_UID}:{INNER_UID}:step:/tmp/home:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": f"root:x:0:\nstep:x:{INNER_UID}:\nnogroup:x:65534:\n",
    "hosts": f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n",
    "hostname": f"{HOSTNAME}\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
    "os-release": 'NAME="Interlock step"\nID=interlock-step\n',
}
"""Generated files of /etc; everything else of the host's /etc stays invisible but `HOST_ETC`."""

INIT_MEMORY: Final = ("/proc/1/mem", "/proc/1/task/1/mem")
"""Hidden from a step, whose uid the first process of its namespace has, too: a step that rewrites that one can make it
forget that it dies with the executor, and outlive its time when the executor is killed."""


@dataclass(frozen=True, slots=True)
class Mount:
    """An extra read-only mount."""

    source: Path
    target: str


def parse_mounts(items: Iterable[str]) -> tuple[Mount, ...]:
    """`SRC` or `SRC:DST` each, absolute. Raises InterlockError(INVALID_ARGUMENT) naming the item."""
    return tuple(_parse_mount(item) for item in items)


def _parse_mount(item: str) -> Mount:
    source, _, target = item.partition(":")
    target = target or source
    if not source.startswith("/") or not target.startswith("/"):
        raise _bad(f"{item!r} is not SRC or SRC:DST with absolute paths.")
    if not os.path.exists(source):
        raise _bad(f"{source} does not exist.")
    return Mount(Path(source), check_target(target))


def check_target(target: str) -> str:
    """A place in the sandbox that something may be mounted at, normalised."""
    path = PurePosixPath(os.path.normpath("/" + target.lstrip("/")))
    if ".." in PurePosixPath(target).parts or path == PurePosixPath("/"):
        raise _bad(f"{target!r} cannot be a mount's place.")
    for taken in _FORBIDDEN:
        if path.is_relative_to(taken) or PurePosixPath(taken).is_relative_to(path):
            raise _bad(f"{target!r} is at, above or below {taken}, where nothing may be mounted.")
    return str(path)


def write_etc(directory: Path) -> None:
    """Write the generated files of /etc to `directory`, readable by the step's uid."""
    directory.mkdir(parents=True, exist_ok=True)
    os.chmod(directory, 0o755)  # noqa: S103 - other users must be able to pass
    for name, text in ETC.items():
        partial = directory / f".{name}-{os.getpid()}"
        partial.write_text(text)
        os.chmod(partial, 0o644)
        partial.rename(directory / name)


def host_system(etc: Path) -> list[str]:
    """The host's /usr read-only, links to it, and a small /etc."""
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name in _LINKS:
        if os.path.isdir(f"/usr/{name}"):
            arguments += ["--symlink", f"usr/{name}", f"/{name}"]
        elif os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"):
            arguments += ["--ro-bind", f"/{name}", f"/{name}"]
    for name in ("/etc", "/etc/ssl"):
        arguments += ["--perms", "0755", "--dir", name]
    for name in HOST_ETC:
        if os.path.exists(f"/etc/{name}"):
            arguments += ["--ro-bind", f"/etc/{name}", f"/etc/{name}"]
    for name in ETC:
        arguments += ["--ro-bind", str(etc / name), f"/etc/{name}"]
    return arguments


def directory_system(root: Path) -> list[str]:
    """A root file system directory read-only, entry by entry: its own /proc, /dev, /sys and /tmp are not used."""
    arguments: list[str] = []
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        if entry.name in _OWN:
            continue
        if entry.is_symlink():
            arguments += ["--symlink", os.readlink(entry.path), f"/{entry.name}"]
        else:
            arguments += ["--ro-bind", entry.path, f"/{entry.name}"]
    if not arguments:
        raise InterlockError(
            Reason.SANDBOX_UNAVAILABLE,
            f"{root} is not a root file system: it is empty.",
            field="INTERLOCK_ROOTFS",
            fix="Unpack one there, or unset INTERLOCK_ROOTFS to use the host's /usr.",
        )
    return arguments


def top_level(root: Path | None) -> tuple[str, ...]:
    """What stands at the top of a step's file system; the host's system when `root` is None."""
    names = ("usr", "etc", *_LINKS) if root is None else tuple(os.listdir(root))
    return tuple(f"/{name}" for name in (*names, "proc", "dev", "sys", "workspace") if name != "tmp")


def can_alias(alias: str, taken: Sequence[str]) -> bool:
    """Whether a link can stand at `alias`: nothing else of the step's file system is at, above or below it.

    Programs installed in a workspace, such as the scripts of a virtual environment, name it by this path.
    """
    path = PurePosixPath(alias)
    if not path.is_absolute() or path == PurePosixPath("/") or ".." in path.parts:
        return False
    own = PurePosixPath(HOME)
    others = [*map(PurePosixPath, taken), own]
    return path != own.parent and not any(
        path.is_relative_to(other) or other.is_relative_to(path) for other in others
    )


def _bad(message: str) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        message,
        field="INTERLOCK_EXTRA_RO_MOUNTS",
        fix="Give a comma-separated list of SRC or SRC:DST, outside /workspace, /tmp, /proc, /sys and /dev.",
    )
