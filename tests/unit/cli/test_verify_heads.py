"""Heads noted before: a cut or rewritten tail is whole by itself, and named by them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.heads import HeadsFile
from interlock.common.errors import InterlockError
from interlock.verify import heads, verify_bundle
from interlock.verify.heads import Head

Build = Callable[[list[dict[str, Any]], list[bytes]], list[bytes]]
RUN = "run-01jd9yq8x0c3v7m5k2h4n6p8rs"
TOLD: list[dict[str, Any]] = [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]


def digests(bundle: list[bytes], build: Build) -> list[str]:
    """Of each event: the heads of all the shorter journals."""
    return [str(json.loads(build(TOLD[:n], [])[0])["head"]) for n in range(1, len(TOLD) + 1)]


def found(bundle: list[bytes], known: list[Head]) -> list[str]:
    return [str(each) for each in verify_bundle(bundle, heads=known).problems]


def test_what_was_noted_is_still_so(build: Build) -> None:
    bundle = build(TOLD, [])
    known = [Head(digest, seq) for seq, digest in enumerate(digests(bundle, build), 1)]
    report = verify_bundle(bundle, heads=[*known, Head("sha256:" + "7" * 64, 2, "run-another")])
    assert report.problems == []
    assert report.noted == 4


def test_a_cut_tail_is_whole_and_named(build: Build) -> None:
    known = Head(digests([], build)[3], 4, RUN)
    cut = build(TOLD[:2], [])
    assert found(cut, []) == []
    (told,) = found(cut, [known])
    assert told == (
        f"bundle: event 4 was noted, with the digest {known.digest}; the journal ends after event 2: "
        "its tail was cut off"
    )


def test_a_rewritten_tail_is_whole_and_named_with_where_it_begins(build: Build) -> None:
    second, third, fourth = digests([], build)[1:]
    other = build([*TOLD[:2], {"n": 33}, {"n": 4}, {}], [])
    assert found(other, []) == []
    (told,) = found(other, [Head(fourth, 4), Head(second, 2)])
    assert told == (
        f"bundle: event 4 is not the one that was noted, {fourth}: the journal was rewritten, "
        "after event 2, which is as it was noted"
    )
    assert "at the beginning or later" in found(other, [Head(third, 3)])[0]


def test_the_standalone_program_takes_heads_and_a_file_of_them(build: Build, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"".join(build(TOLD[:3], [])))
    known = digests([], build)
    lines = heads.line(RUN, 2, known[1]) + heads.line("run-another", 1, known[0]) + f"{RUN} 3 sha"
    (tmp_path / "heads").write_text(lines)

    def run(*arguments: str) -> tuple[int, str]:
        program = [sys.executable, "-m", "interlock.verify", str(tmp_path / "b"), *arguments]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    code, told = run("--heads", str(tmp_path / "heads"), "--head", f"{known[2]}@3")
    assert (code, "compared with 2 heads" in told) == (0, True)
    code, told = run("--head", f"{known[3]}@4")
    assert (code, "its tail was cut off" in told) == (1, True)
    assert run("--head", "sha256:12")[0] == 2


@pytest.mark.parametrize("text", ["", "sha256:12", "sha256:" + "A" * 64, "sha256:" + "1" * 64 + "@0", "x@1"])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a head"):
        heads.parse(text)


async def test_a_file_of_heads_goes_on_where_a_crash_had_cut_it(tmp_path: Path) -> None:
    path = tmp_path / "heads"
    one, two = (Head("sha256:" + digit * 64, seq, RUN) for seq, digit in enumerate("12", 1))
    async with HeadsFile(str(path)) as file:
        file.note(RUN, 1, one.digest)
        file.note(RUN, 0, "")  # an orchestrator of an earlier release says nothing
    path.write_text(path.read_text() + "run-01jd9 7 sha256:abc")
    assert heads.read(path) == [one]
    async with HeadsFile(str(path)) as file:
        file.note(RUN, 2, two.digest)
    assert heads.read(path) == [one, two]


async def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(InterlockError, match="Cannot write"):
        async with HeadsFile(str(tmp_path / "nowhere" / "heads")):
            pass


def test_a_line_that_is_no_head_is_named(tmp_path: Path) -> None:
    (tmp_path / "heads").write_text("something else\n")
    with pytest.raises(ValueError, match="line 1 is not RUN SEQ DIGEST"):
        heads.read(tmp_path / "heads")
