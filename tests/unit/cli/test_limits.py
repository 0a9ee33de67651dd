"""Limits as the command line has them."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from interlock.cli.doctor import Level, checks
from interlock.cli.limits import NAMES, limits_text, parse_limits
from interlock.common.errors import InterlockError, Reason
from interlock.v1.step_pb2 import Limits


def test_none_is_none() -> None:
    assert parse_limits(None) is parse_limits([]) is None
    assert limits_text(Limits()) == ""


def test_every_name_is_read_and_shown() -> None:
    values = {name: "90s" if name in ("wall", "cpu") else "7" for name in NAMES}
    limits = parse_limits([f"{name}={value}" for name, value in values.items()])
    assert limits is not None
    assert len(limits.ListFields()) == len(NAMES) == len(Limits.DESCRIPTOR.fields)
    shown = limits_text(limits)
    assert all(name in shown for name in NAMES)


def test_units() -> None:
    limits = parse_limits(["memory=512MiB", "wall=1.5m", "written=2GiB", "files=100000", "kept=100"])
    assert limits == Limits(
        memory_bytes=512 << 20,
        wall=Duration(seconds=90),
        written_bytes=2 << 30,
        written_files=100_000,
        kept_bytes=100,
    )
    assert limits_text(limits) == "wall 1m 30s, memory 512.0 MiB, written 2.0 GiB, kept 100 B, files 100000"


@pytest.mark.parametrize(
    "value",
    [
        "memory",
        "memory=",
        "memory=0",
        "memory=-1",
        "memory=1GB",
        "memory=1.5GiB",
        "memory=999999999999999TiB",
        "processes=0",
        "processes=99999999999",
        "processes=4KiB",
        "wall=0",
        "wall=soon",
        "=1",
        "speed=1",
    ],
)
def test_what_cannot_be_read_says_how_it_is_written(value: str) -> None:
    with pytest.raises(InterlockError) as caught:
        parse_limits([value])
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "limit")
    assert caught.value.fix


def test_a_name_is_given_once() -> None:
    with pytest.raises(InterlockError, match="twice"):
        parse_limits(["files=1", "files=2"])


def test_the_doctor_shows_what_a_command_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_STEP_WALL_SECONDS", "30")
    monkeypatch.setenv("INTERLOCK_EXECUTOR_COMMANDS", "3")
    found = checks._limits()
    assert (found.check, found.level) == ("limits", Level.OK)
    assert found.detail.startswith("wall 30s, cpu 20m 00s, memory 2.0 GiB")
    assert found.detail.endswith("; 3 commands at once")
    monkeypatch.setenv("INTERLOCK_EXECUTOR_COMMANDS", "many")
    bad = checks._limits()
    assert bad.level is Level.MISSING
    assert "INTERLOCK_EXECUTOR_COMMANDS" in bad.detail
