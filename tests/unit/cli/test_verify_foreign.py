"""`journal verify` of what is no bundle: one clear, typed error that says what the file is."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from interlock.cli.main import app
from interlock.verify.__main__ import main


def verify(target: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["journal", "verify", target])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x7fELF\2\1\1\0\0\nrest", "is a binary file"),
        (b"\x89PNG\r\n\x1a\n", "is a binary file"),
        (b'{"name": "another program", "version": 3}\n', "is JSON, but not a journal bundle"),
        (b'[\n  {"a": 1}\n]\n', "is JSON, but not a journal bundle"),
        (b"goal: a plan\nsteps: []\n", "is text, but not a journal bundle"),
        ("größer\twichtig\r\n".encode(), "is text, but not a journal bundle"),
    ],
)
def test_what_the_file_is_and_what_to_do(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "other"
    file.write_bytes(content)
    code, out, err = verify(str(file))
    assert (code, out) == (2, "")
    assert err.startswith(f"Error: {file} {said}")
    for line in ("field:  target", "journal export RUN --file FILE", "reason: INVALID_ARGUMENT"):
        assert line in err


def test_devices_and_directories(tmp_path: Path) -> None:
    assert "Error: /dev/null is empty" in verify("/dev/null")[2]
    assert f"Error: Cannot read {tmp_path}: Is a directory." in verify(str(tmp_path))[2]


def test_standard_input_is_named() -> None:
    done = CliRunner().invoke(app, ["journal", "verify", "-"], input="hello\n")
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: Standard input is text")


def test_a_bundle_that_was_changed_is_still_a_finding(tmp_path: Path) -> None:
    file = tmp_path / "bundle"
    file.write_text(
        '{"bundle":"interlock-journal","version":1,"run_id":"","events":0,"head":"x"}\n{"end":true,"lines":2}\n'
    )
    code, out, err = verify(str(file))
    assert code == 1
    assert "NOT verified (2 problems)" in out
    assert "its run id or head is malformed" in err


def test_the_module_says_so_with_the_same_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").touch()
    monkeypatch.setattr(sys, "argv", ["verify", str(tmp_path / "empty")])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main() == 2
    assert capsys.readouterr().err == "bundle: the file is empty\n"
