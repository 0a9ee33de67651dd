"""Fetches the demo's library, pinned by hash, and unpacks it: `fetch_demo_library.py DIRECTORY [--cache DIR]`.

The library is jsonpointer (RFC 6901), by Stefan Kögl: one module, no dependencies, and its own unittest suite in the
source distribution. It is found and downloaded with pip's own machinery, so that the user's index, proxy, certificates
and credentials apply; unlike `pip download`, nothing of it is executed here (pip runs a source distribution's build
backend for its metadata). pip is pinned in requirements/dev.txt, which is why its internals may be used.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

NAME, VERSION = "jsonpointer", "3.9"
SHA256 = "b4c52dd58837669881f9677c0e83d73fa0b369feb67563ec4a8b1c13eb3c5a23"
ARCHIVE = f"{NAME}-{VERSION}.tar.gz"
TOP = f"{NAME}-{VERSION}"
MAX_ARCHIVE_BYTES = 2 * 1024 * 1024
MAX_UNPACKED_BYTES = 8 * 1024 * 1024
MAX_MEMBERS = 500


class FetchError(Exception):
    """What went wrong, in words for the person at the terminal."""


def main() -> int:
    """Prints the directory the library is in; the exit code is 1 when it could not be had."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "directory", type=Path, help="where to put the library's files; must not exist or be empty"
    )
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where the archive is kept")
    arguments = parser.parse_args()
    try:
        unpack(fetch(arguments.cache), arguments.directory)
    except FetchError as error:
        print(f"fetch: {error}", file=sys.stderr)
        return 1
    print(arguments.directory)
    return 0


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/interlock-demo`, or the same below `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "interlock-demo"


def fetch(cache: Path) -> bytes:
    """The archive's bytes, from the cache or the package index; anything with another hash is refused."""
    kept = cache / ARCHIVE
    if kept.is_file():
        content = kept.read_bytes()
        if _sha256(content) == SHA256:
            return content
    content = _download()
    if _sha256(content) != SHA256:
        raise FetchError(f"{ARCHIVE} has sha256 {_sha256(content)}, expected {SHA256}: refused")
    _keep(kept, content)
    return content


def unpack(archive: bytes, directory: Path) -> None:
    """Writes the regular files and directories below the archive's top directory into `directory`.

    Everything else in the archive (links, devices, paths that leave it, more than the limits) is refused before
    anything is written; the standard library's `data` filter stands behind that.
    """
    if directory.exists() and any(directory.iterdir()):
        raise FetchError(f"{directory} is not empty")
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".tar.gz") as file:
        file.write(archive)
        file.flush()
        with tarfile.open(file.name, "r:gz") as tar:
            if hasattr(tarfile, "data_filter"):  # absent before Python 3.11.4, where _checked stands alone
                tar.extraction_filter = staticmethod(tarfile.data_filter)
            for member in _checked(tar):
                tar.extract(member, directory)


def _checked(tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    members: list[tarfile.TarInfo] = []
    size = 0
    for member in tar:
        path = PurePosixPath(member.name)
        size += member.size
        if len(members) >= MAX_MEMBERS or size > MAX_UNPACKED_BYTES:
            raise FetchError(f"{ARCHIVE} unpacks to more than expected")
        if path.is_absolute() or ".." in path.parts or not path.parts or path.parts[0] != TOP:
            raise FetchError(f"{ARCHIVE} holds a path outside {TOP}/: {member.name!r}")
        if not (member.isreg() or member.isdir()):
            raise FetchError(f"{ARCHIVE} holds something that is neither file nor directory: {member.name!r}")
        members.append(_relocated(member, path))
    return [member for member in members if member.name != "."]


def _relocated(member: tarfile.TarInfo, path: PurePosixPath) -> tarfile.TarInfo:
    """The member without its top directory, with plain modes, owned by whoever unpacks it."""
    member.name = str(PurePosixPath(*path.parts[1:]))
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    member.uid, member.gid = os.getuid(), os.getgid()
    member.uname = member.gname = ""
    return member


def _download() -> bytes:
    from pip._internal.commands import create_command
    from pip._internal.exceptions import PipError
    from pip._internal.index.package_finder import PackageFinder
    from pip._internal.network.session import PipSession
    from pip._vendor.requests import RequestException

    command = create_command("download")
    options, _ = command.parse_args(["--quiet", "--no-deps", "--no-binary", ":all:", NAME])
    with command.main_context():
        try:
            session: PipSession = command.get_default_session(options)  # type: ignore[attr-defined]
            finder: PackageFinder = command._build_package_finder(options, session)  # type: ignore[attr-defined]  # noqa: SLF001
            return _content(session, finder)
        except (PipError, RequestException, OSError) as error:
            raise FetchError(
                f"{ARCHIVE} could not be downloaded: {error}\n"
                "       pip's configuration decides where from; `pip config list` shows it"
            ) from error


def _content(session: object, finder: object) -> bytes:
    found = [c for c in finder.find_all_candidates(NAME) if c.link.filename == ARCHIVE]  # type: ignore[attr-defined]
    if not found:
        raise FetchError(f"the package index has no {ARCHIVE}; `pip config list` shows which index is asked")
    url = found[0].link.url_without_fragment
    with session.get(url, headers={"Accept-Encoding": "identity"}, stream=True) as reply:  # type: ignore[attr-defined]
        reply.raise_for_status()
        content: bytes = reply.raw.read(MAX_ARCHIVE_BYTES + 1)
    if len(content) > MAX_ARCHIVE_BYTES:
        raise FetchError(f"{ARCHIVE} is larger than {MAX_ARCHIVE_BYTES} bytes: refused")
    return content


def _keep(path: Path, content: bytes) -> None:
    """Written beside and renamed: two demos that start together never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
