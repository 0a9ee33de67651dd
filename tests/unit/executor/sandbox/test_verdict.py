from __future__ import annotations

import dataclasses

import pytest

from interlock.common.errors import Reason
from interlock.executor.sandbox.base import (
    Ending,
    Exceeded,
    Limits,
    SandboxSpec,
    StreamOutput,
    TierReport,
    Usage,
)
from interlock.executor.sandbox.launch import not_started
from interlock.executor.sandbox.verdict import Observation, enforcement, start_error, verdict

SPEC = SandboxSpec(argv=("prog",), working_dir="d", limits=Limits(cpu_us=1_000_000))
EMPTY = StreamOutput("sha256:e3", 0, b"", b"")
SEEN = Observation(
    ending=Ending.EXITED,
    exceeded=None,
    code=0,
    counted=None,
    disk=None,
    usage=Usage(1000, 10, 10, 1, 1),
    stdout=EMPTY,
    stderr=EMPTY,
    argv=("prog",),
    tier=TierReport("bubblewrap", "rlimit+watchdog", "overlay"),
    live_dropped=0,
)


class Group:
    """A cgroup that has seen things."""

    def __init__(self, oom: int = 0, forks: int = 0) -> None:
        self._oom, self._forks = oom, forks

    name = "group"

    def attach(self, pid: int) -> None: ...

    def oom_kills(self) -> int:
        return self._oom

    def refused_forks(self) -> int:
        return self._forks

    def memory_peak(self) -> int:
        return 5

    def cpu_us(self) -> tuple[int, int] | None:
        return None

    def remove(self) -> None: ...


@pytest.mark.parametrize(
    ("code", "ending", "exit_code", "signal"),
    [
        (0, Ending.EXITED, 0, 0),
        (128, Ending.EXITED, 128, 0),
        (129, Ending.SIGNALED, None, 1),
        (139, Ending.SIGNALED, None, 11),
        (192, Ending.SIGNALED, None, 64),
        (193, Ending.EXITED, 193, 0),
        (255, Ending.EXITED, 255, 0),
    ],
)
def test_codes(code: int, ending: Ending, exit_code: int | None, signal: int) -> None:
    result = verdict(SPEC, dataclasses.replace(SEEN, code=code))
    assert (result.ending, result.exit_code, result.signal) == (ending, exit_code, signal)


@pytest.mark.parametrize(
    ("change", "limit"),
    [
        ({"counted": Group(oom=1)}, "memory_bytes"),
        ({"counted": Group(forks=3)}, "processes"),
        ({"counted": Group(forks=3), "ending": Ending.TIMED_OUT}, "processes"),
        ({"code": 137, "usage": Usage(1, 900_000, 100_000, 1, 1)}, "cpu_us"),
        ({"code": 152, "usage": Usage(1, 2_000_000, 0, 1, 1)}, "cpu_us"),
        ({"code": 153}, "file_bytes"),
        ({"stdout": StreamOutput("x", 3 << 30, b"", b"")}, "output_bytes"),
        ({"disk": Exceeded("written_files", 1, 2)}, "written_files"),
    ],
)
def test_limits_that_show_at_the_end(change: dict[str, object], limit: str) -> None:
    result = verdict(SPEC, dataclasses.replace(SEEN, **change))  # type: ignore[arg-type]
    assert result.exceeded is not None
    assert (result.ending, result.exceeded.limit, result.exit_code) == (Ending.LIMIT, limit, None)


@pytest.mark.parametrize(
    ("code", "signal", "ending", "limit"),
    [
        (153, 25, Ending.LIMIT, "file_bytes"),
        (153, 0, Ending.EXITED, None),
        (153, 9, Ending.SIGNALED, None),
        (152, 0, Ending.EXITED, None),
        (137, 0, Ending.EXITED, None),
        (137, 9, Ending.SIGNALED, None),
        (0, 0, Ending.EXITED, None),
    ],
)
def test_an_exit_code_is_no_signal_where_the_runner_knows(
    code: int, signal: int, ending: Ending, limit: str | None
) -> None:
    result = verdict(SPEC, dataclasses.replace(SEEN, code=code, signal=signal))
    assert (result.ending, result.exceeded and result.exceeded.limit) == (ending, limit)
    assert result.exit_code == (code if ending is Ending.EXITED else None)
    assert result.signal == (signal if ending is Ending.SIGNALED else 0)


@pytest.mark.parametrize(
    ("change", "limit"),
    [
        ({"counted": Group(oom=1)}, "memory_bytes"),
        ({"usage": Usage(1, 900_000, 100_000, 1, 1)}, "cpu_us"),
    ],
)
def test_a_shell_whose_child_was_ended_at_a_limit(change: dict[str, object], limit: str) -> None:
    """It exits with 137 by itself; what was counted says why."""
    result = verdict(SPEC, dataclasses.replace(SEEN, code=137, signal=0, **change))  # type: ignore[arg-type]
    assert result.exceeded is not None
    assert (result.ending, result.exceeded.limit) == (Ending.LIMIT, limit)


def test_a_kill_within_the_limit_is_a_signal() -> None:
    assert verdict(SPEC, dataclasses.replace(SEEN, code=137)).ending is Ending.SIGNALED


def test_what_ended_it_first_stands() -> None:
    timed_out = dataclasses.replace(
        SEEN,
        ending=Ending.TIMED_OUT,
        exceeded=Exceeded("wall_us", 1, 2),
        code=137,
        disk=Exceeded("written_bytes", 1, 2),
    )
    result = verdict(SPEC, timed_out)
    assert (result.ending, result.exceeded, result.exit_code) == (
        Ending.TIMED_OUT,
        Exceeded("wall_us", 1, 2),
        None,
    )


@pytest.mark.parametrize(
    ("said", "reason", "field"),
    [
        ("bwrap: execvp prog: No such file or directory", Reason.COMMAND_NOT_FOUND, "argv"),
        ("bwrap: Can't chdir to /workspace/d: Not a directory", Reason.PATH_NOT_FOUND, "working_dir"),
        (
            "bwrap: Can't make overlay mount on /newroot/workspace: Permission denied",
            Reason.SANDBOX_UNAVAILABLE,
            "",
        ),
        ("", Reason.SANDBOX_UNAVAILABLE, ""),
        ("\ufffd", Reason.SANDBOX_UNAVAILABLE, ""),
    ],
)
def test_commands_that_never_ran(said: str, reason: Reason, field: str) -> None:
    error = start_error(SPEC, ("prog",), not_started(said))
    assert (error.reason, error.field) == (reason, field)
    assert error.fix


def test_every_limit_has_an_enforcer() -> None:
    for how in ("cgroup-v1", "cgroup-v2", "rlimit+watchdog"):
        for own in (True, False):
            found = enforcement(TierReport("b", how, "overlay"), tmp_is_mount=own)
            assert found.keys() == set(Limits.__dataclass_fields__)
            assert found["tmp_bytes"] == ("mount" if own else "watchdog")
    assert enforcement(TierReport("b", "cgroup-v2", "overlay"))["memory_bytes"] == "cgroup-v2"
