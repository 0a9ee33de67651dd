"""What the nursery starts is a child of this process, with what it was given and nothing else."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from interlock.common.errors import InterlockError
from interlock.executor.sandbox import orphans
from interlock.executor.sandbox.nursery import client
from interlock.executor.sandbox.nursery.order import Order


@pytest.fixture
def output() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)


def run(output: tuple[int, int], order: Order, more: Mapping[int, int] | None = None) -> tuple[int, str]:
    """Its exit code, and what it said."""
    read, write = output
    pid, inherited = client.start(order, {1: write, 2: write, **(more or {})})
    assert 0 < inherited < 200 << 20
    os.close(write)
    with open(read, closefd=False) as file:
        said = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def shell(text: str, **changes: int) -> Order:
    order = {"parent": os.getpid(), "argv": ("sh", "-c", text), "program": "/bin/sh", **changes}
    return Order(**order)  # type: ignore[arg-type]


def test_it_has_nothing_that_it_was_not_given(output: tuple[int, int]) -> None:
    secret = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(secret, True)
    given, other = os.pipe()
    os.environ["SECRET"] = "x"
    try:
        text = "cut -d' ' -f5 /proc/$$/stat; echo $$ $PPID; pwd; umask; ls /proc/$$/fd; cat /proc/$$/environ"
        code, said = run(output, shell(text), {given: given})
    finally:
        del os.environ["SECRET"]
        for fd in (secret, given, other):
            os.close(fd)
    group, pids, place, umask, *fds = said.split("\n")
    assert (code, place, umask) == (0, "/", "0022")
    assert pids.split() == [group, str(os.getpid())]
    assert sorted(fds) == sorted(["0", "1", "2", str(given), ""])


IGNORED = (1).to_bytes(8, sys.byteorder) + bytes(24)


def set_action(number: int, action: bytes) -> bytes:
    """By the kernel's own call: the C library refuses its signals. Returns what it was."""
    call = {"x86_64": 13, "aarch64": 134}[os.uname().machine]
    before = ctypes.create_string_buffer(32)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(call, number, ctypes.create_string_buffer(action, 32), before, 8) == 0
    return before.raw


def test_signals_are_as_programs_expect_them(output: tuple[int, int]) -> None:
    _, said = run(output, shell("exec grep -E 'Sig(Ign|Blk)' /proc/self/status"))
    assert said.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


def test_signals_that_the_executor_was_started_with_ignored_are_not_ignored(output: tuple[int, int]) -> None:
    ignored = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGRTMIN)
    before = [signal.signal(number, signal.SIG_IGN) for number in ignored]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    librarys_own = [set_action(number, IGNORED) for number in (32, 33)]
    client.mine().close()
    try:
        _, said = run(output, shell("exec grep -E 'Sig(Ign|Blk)' /proc/self/status"))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in zip(ignored, before, strict=True):
            signal.signal(number, handler)
        for number, action in zip((32, 33), librarys_own, strict=True):
            set_action(number, action)
        client.mine().close()
    assert said.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


def test_what_cannot_be_executed_says_so(output: tuple[int, int]) -> None:
    order = Order(parent=os.getpid(), argv=("x",), program="/nowhere/x")
    assert run(output, order) == (1, "No such file or directory")


def test_an_entrance_that_is_closed_to_it_ends_it(output: tuple[int, int]) -> None:
    closed = os.open("/dev/null", os.O_RDONLY)
    order = Order(parent=os.getpid(), argv=("true",), program="/bin/true", joins=(closed,))
    assert run(output, order, {closed: closed}) == (1, "Bad file descriptor")
    os.close(closed)


def test_nobody_elses_child_goes_on(output: tuple[int, int]) -> None:
    assert run(output, shell("echo begun", parent=1)) == (1, "")


def test_one_that_was_killed_is_made_anew(output: tuple[int, int]) -> None:
    assert run(output, shell("exit 7"))[0] == 7
    before = client.mine().pid
    os.kill(before, signal.SIGKILL)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
    read, write = os.pipe()
    assert run((read, write), shell("exit 8"))[0] == 8
    os.close(read)
    assert client.mine().pid != before


def test_one_that_does_not_answer_is_ended_and_starts_nothing(
    output: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_PATIENCE", 0.2)
    nursery = client.Nursery()
    before = orphans.children()
    os.kill(nursery.pid, signal.SIGSTOP)
    with pytest.raises(InterlockError, match="no answer came"):
        nursery.start(shell("echo begun"), {1: output[1], 2: output[1]})
    assert nursery.closed
    assert set(orphans.children()) == set(before) - {nursery.pid}
    os.close(output[1])
    assert os.read(output[0], 100) == b""


def test_one_that_answers_too_late_is_ended(output: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    nursery, answers = client.Nursery(), client.Nursery._answer
    before = orphans.children()

    def too_late(self: client.Nursery) -> int | None:
        monkeypatch.setattr(client.Nursery, "_answer", answers)
        select.select([self._channel], [], [])
        return None

    monkeypatch.setattr(client.Nursery, "_answer", too_late)
    with pytest.raises(InterlockError, match="no answer came"):
        nursery.start(shell("exec sleep 600"), {1: output[1], 2: output[1]})
    assert set(orphans.children()) == set(before) - {nursery.pid}
    os.close(output[1])


def test_its_process_keeps_nothing(output: tuple[int, int]) -> None:
    run(output, shell("exit 0"))
    place = Path(f"/proc/{client.mine().pid}")
    deadline = time.monotonic() + 30
    while len(os.listdir(place / "fd")) > 4:  # it closes them while the new process begins
        assert time.monotonic() < deadline
    assert (place / "environ").read_bytes() == b""


def test_more_descriptors_than_the_kernel_passes() -> None:
    with pytest.raises(InterlockError, match="too many files"):
        client.start(shell("exit 0"), dict.fromkeys(range(300), 0))
