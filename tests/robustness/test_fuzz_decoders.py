"""Archives, plans and tree objects of whatever bytes: a right reading or a typed error, and nothing else."""

from __future__ import annotations

import base64
import io
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from tests.support.fuzz.driving import hunt, lengths
from tests.support.fuzz.messages import mutated_bytes
from tests.support.trees import read_tree

from interlock.common.errors import InterlockError
from interlock.common.plan import dump_yaml, parse_plan
from interlock.executor.snapshots.encoding import (
    TIMES_DOMAIN,
    TREE_DOMAIN,
    Malformed,
    decode_directory,
    decode_times,
    encode_directory,
    encode_times,
)
from interlock.executor.snapshots.model import Entry, Limits, Times
from interlock.executor.workspaces.archive import extract

PLANS = [
    b"goal: g\nsteps:\n  - read_file: {path: a.txt}\n  - run_command: {command: 'true', timeout: 5s, env: {A: b}}\n",
    b'{"goal": "g", "policy": {"edit_file_gate": "none"}, "steps": [{"edit_file": {"path": "a", "new_content": "x"}}]}',
    b'goal: |\n  g\nbudget: {max_cost: 1.5}\nsteps:\n  - analyze: {instruction: "\\u00e9", context_keys: [step-1]}\n',
]
PIECES = [
    b"&a ", b"*a", b"!!python/object:os.system ", b"<<: ", b"? ", b"- ", b"[", b"{" * 500, b"[" * 5000, b"]",
    b"\t", b"\xff",
    b"---\n", b"...\n", b"%YAML 1.2\n", b"1e999999999", b"9" * 5000, b".nan", b"\xed\xa0\x80", b"\\ud800",
    b'"\\ud83d"', b"\0",
    b"\xef\xbb\xbf", b"\x85", b"step-99999999999999999999", b"1_000", b"0x10", b"12:30:45", b"2001-01-01",
    b"timeout: -1s\n",
    b"timeout: 99999999999999999999h\n", b'"a": 1, "a": 2',
]  # fmt: skip


@st.composite
def plan_texts(draw: Any) -> bytes:
    text = bytearray(draw(st.sampled_from(PLANS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        how = draw(st.integers(0, 3))
        if how < 2:
            text[at:at] = draw(st.sampled_from(PIECES))
        elif how == 2:
            del text[at : at + draw(st.integers(1, 12))]
        else:
            text[at:at] = draw(st.binary(min_size=1, max_size=3))
    return bytes(text)


@lengths(200, 20_000)
def test_a_plan_is_read_or_refused_by_its_reason(examples: int) -> None:
    def check(text: bytes) -> None:
        try:
            plan = parse_plan(text)
        except InterlockError as refused:
            error = refused
        else:
            assert parse_plan(dump_yaml(plan).encode()) == plan
            return
        assert error.reason.value in PLAN_REASONS, error
        assert error.message
        assert "Traceback" not in error.message

    hunt(examples, check, plan_texts())


PLAN_REASONS = {
    "PLAN_INVALID",
    "STEP_FIELD_MISSING",
    "STEP_KIND_UNKNOWN",
    "RUN_EMPTY_PLAN",
    "RUN_TOO_MANY_STEPS",
}

directories = st.dictionaries(
    st.binary(min_size=1, max_size=5),
    st.one_of(
        st.builds(Entry, st.sampled_from("fd"), st.integers(0, 0o7777), st.binary(min_size=32, max_size=32)),
        st.builds(Entry, st.just("l"), st.just(0), st.binary(max_size=9)),
    ),
    max_size=4,
)
moments = st.dictionaries(
    st.binary(min_size=1, max_size=5),
    st.builds(Times, st.integers(-(2**63), 2**63 - 1), st.sampled_from([b"", b"c" * 32])),
    max_size=4,
)


@lengths(200, 20_000)
def test_tree_objects_are_read_exactly_or_refused(examples: int) -> None:
    def check_tree(data: bytes) -> None:
        try:
            found = decode_directory(data)
        except Malformed:
            return
        # Two encodings of one directory would be two ids of one tree.
        assert encode_directory(found) == data

    def check_times(data: bytes) -> None:
        try:
            decode_times(data)
        except Malformed:
            return

    hunt(examples, check_tree, directories.map(encode_directory).flatmap(mutated_bytes))
    hunt(examples, check_tree, st.binary(max_size=60).map(lambda tail: TREE_DOMAIN + tail))
    hunt(examples, check_times, moments.map(encode_times).flatmap(mutated_bytes))
    hunt(examples, check_times, st.binary(max_size=60).map(lambda tail: TIMES_DOMAIN + tail))


MEMBERS = [
    "a.txt", "dir/", "dir/b", "../up", "/abs", "dir/../../up", "a.txt/under", "link", "link/through", "é",
    "\udcff", "a\nb",
    "x" * 300, "d/" * 300 + "deep", ".", "..", "", "-rf", "C:\\up",
]  # fmt: skip
PRINTABLE = [name for name in MEMBERS if name and name.isprintable()]
TARGETS = ["a.txt", "..", "../..", "/", "/etc/passwd", "dir", "link", "\udcff"]

PAX = [
    ("mtime", "1e300"), ("mtime", "inf"), ("mtime", "nan"), ("mtime", "-1e19"), ("mtime", "9" * 30),
    ("size", "-1"), ("size", "9" * 25),
    ("size", "1e3"), ("path", "a\0b"), ("path", "../up"), ("path", ""), ("linkpath", "/etc/passwd"), ("uid", "x"),
    ("GNU.sparse.map", "0,9999999999999"), ("GNU.sparse.map", "x"), ("GNU.sparse.major", "1"),
    ("GNU.sparse.size", "-5"),
    ("GNU.sparse.name", "../up"), ("hdrcharset", "BINARY"), ("hdrcharset", "nonsense"),
    ("GNU.sparse.realsize", "99999999999999"),
    ("GNU.sparse.minor", "0"),
]  # fmt: skip


class Raw(bytes):
    """Bytes that are printed short enough to be kept in a test: `Raw.of(…)` makes them again."""

    def __repr__(self) -> str:
        return f"Raw.of({base64.b85encode(zlib.compress(self, 9)).decode()!r})"

    @classmethod
    def of(cls, text: str) -> Raw:
        return cls(zlib.decompress(base64.b85decode(text)))


@st.composite
def tars(draw: Any) -> bytes:
    raw = io.BytesIO()
    mode = draw(st.sampled_from(["w", "w", "w:gz", "w:xz", "w:bz2"]))
    form = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    with tarfile.open(fileobj=raw, mode=mode, format=form, errors="surrogateescape") as tar:
        for name in draw(st.lists(st.sampled_from(MEMBERS), max_size=6)):
            info = tarfile.TarInfo(name)
            info.type = draw(st.sampled_from([tarfile.REGTYPE] * 4 + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.SYMTYPE,
                              tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE]))  # fmt: skip
            info.linkname = draw(st.sampled_from(TARGETS))
            info.mode = draw(st.sampled_from([0o644, 0o755, 0o4755, 0, 0o1777]))
            info.mtime = draw(st.sampled_from([0, 1, 2**31, 2**33, 8589934591]))
            info.pax_headers = dict(draw(st.lists(st.sampled_from(PAX), max_size=2)))
            data = draw(st.sampled_from([b"", b"one\n", b"x" * 2000]))
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return raw.getvalue()


@st.composite
def zips(draw: Any) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(
        raw, "w", draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    ) as archive:
        for name in draw(
            st.lists(st.sampled_from([m for m in MEMBERS if m and m.isprintable()]), max_size=6, unique=True)
        ):
            info = zipfile.ZipInfo(
                name, draw(st.sampled_from([(1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)]))
            )
            kind = draw(st.sampled_from([0, stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFDIR]))
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, draw(st.sampled_from(["", "one\n", "../..", "/etc/passwd", "x" * 5000])))
    return raw.getvalue()


archives = st.one_of(tars(), zips())


@pytest.fixture
def room() -> Iterator[Path]:
    path = Path(
        tempfile.mkdtemp(prefix="interlock-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    )
    (path / "canary").write_text("canary\n")
    yield path
    shutil.rmtree(path)


@lengths(200, 10_000)
def test_an_archive_is_unpacked_inside_or_refused(room: Path, examples: int) -> None:
    count = iter(range(10**9))

    def check(data: bytes) -> None:
        unpacked_or_refused(room / f"{next(count)}", data)
        assert os.listdir(room) == ["canary"]

    hunt(examples, check, (archives.flatmap(mutated_bytes) | archives).map(Raw))


@pytest.mark.parametrize("headers", [*([each] for each in PAX), PAX[-4:]], ids=repr)
def test_a_pax_header_can_say_anything(room: Path, headers: list[tuple[str, str]]) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("a")
        info.size, info.pax_headers = 4, dict(headers)
        tar.addfile(info, io.BytesIO(b"one\n"))
    unpacked_or_refused(room / "here", raw.getvalue())


def unpacked_or_refused(here: Path, data: bytes) -> None:
    """And nothing is beside it."""
    (here / "inside").mkdir(parents=True)
    (here / "archive").write_bytes(data)
    reason = ""
    try:
        extract(here / "archive", here / "inside", Limits(entries=200, file_bytes=1 << 20))
    except InterlockError as refused:
        reason = refused.reason.value
    assert reason in ARCHIVE_REASONS
    assert {path for path in read_tree(here) if not path.startswith(b"inside")} == {b"archive"}
    shutil.rmtree(here)


ARCHIVE_REASONS = {"", "WORKSPACE_SOURCE_INVALID", "WORKSPACE_LIMIT_EXCEEDED", "INVALID_ARGUMENT"}
