"""Values given on the command line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from interlock.cli.values import (
    parse_duration,
    parse_enum,
    parse_labels,
    parse_source,
    parse_step,
    read_document,
)
from interlock.common.errors import InterlockError, Reason
from interlock.v1.run_pb2 import RunState


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("90", 90), ("1.5s", 1.5), ("500ms", 0.5), ("5m", 300), (" 2h ", 7200), ("0", 0)],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text, "timeout") == seconds


@pytest.mark.parametrize("text", ["-1", "abc", "5 m", "1w", "nan", "inf", "1e3"])
def test_bad_durations_name_their_field(text: str) -> None:
    with pytest.raises(InterlockError) as caught:
        parse_duration(text, "timeout")
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "timeout")


def test_labels() -> None:
    assert parse_labels(None) == {}
    assert parse_labels(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for bad in ("a", "=1", ""):
        with pytest.raises(InterlockError, match="is not a label"):
            parse_labels([bad])


@pytest.mark.parametrize(("text", "number"), [("3", 3), ("step-3", 3), ("10000", 10_000)])
def test_steps(text: str, number: int) -> None:
    assert parse_step(text) == number


@pytest.mark.parametrize("text", ["0", "-1", "step-", "x", "1.5", "99999999999", "²", ""])
def test_bad_steps(text: str) -> None:
    with pytest.raises(InterlockError) as caught:
        parse_step(text)
    assert caught.value.field == "step"


def test_enums_say_what_there_is() -> None:
    assert parse_enum(RunState, "Running", "state") == RunState.RUN_STATE_RUNNING
    with pytest.raises(InterlockError) as caught:
        parse_enum(RunState, "walking", "state")
    assert "awaiting_approval" in caught.value.fix


def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    archive = tmp_path / "a.tar.gz"
    archive.touch()
    (tmp_path / "dir").mkdir()
    assert parse_source("dir", git=False, ref="", strip=0).directory.path == str(tmp_path / "dir")
    assert parse_source("a.tar.gz", git=False, ref="", strip=1).archive.strip_components == 1
    elsewhere = parse_source("/elsewhere/b.TGZ", git=False, ref="", strip=0)
    assert elsewhere.archive.path == "/elsewhere/b.TGZ", "only the executor's machine has it"
    (tmp_path / "named.zip").mkdir()
    assert parse_source("named.zip", git=False, ref="", strip=0).directory.path == str(tmp_path / "named.zip")
    assert parse_source("dir", git=True, ref="main", strip=0).git.url == str(tmp_path / "dir")
    for url in ("https://example.org/x.git", "git@example.org:x.git", "ssh://host/x"):
        assert parse_source(url, git=False, ref="", strip=0).git.url == url


def test_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan"
    path.write_bytes(b"goal: x")
    assert read_document(str(path), "plan") == b"goal: x"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    assert read_document("-", "plan") == b"from a pipe"
    for bad in (tmp_path / "absent", tmp_path):
        with pytest.raises(InterlockError) as caught:
            read_document(str(bad), "plan")
        assert caught.value.field == "plan"
