"""Output is exact: every byte is hashed and counted, what is kept is the stream's own head and tail."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from interlock.executor.sandbox.base import MIB, Ending

Arena = Any


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Recorder:
    """Keeps what it is given and checks that it arrives in order."""

    def __init__(self) -> None:
        self.data = {"stdout": bytearray(), "stderr": bytearray()}

    async def chunk(self, stream: str, offset: int, data: bytes) -> None:
        assert offset == len(self.data[stream])
        self.data[stream] += data


async def test_every_byte_value_is_kept_as_it_is(arena: Arena) -> None:
    data = bytes(range(256)) + b"\x1b[31mred\x1b[0m\r\n\xff\xfe\x00"
    recorder = Recorder()
    result = await arena.python(
        f"import sys; sys.stdout.buffer.write({data!r}); sys.stderr.buffer.write({data!r})", sink=recorder
    )
    for stream in (result.stdout, result.stderr):
        assert (stream.head + stream.tail, stream.total, stream.digest, stream.omitted) == (
            data,
            len(data),
            digest(data),
            0,
        )
    assert recorder.data == {"stdout": data, "stderr": data}


@pytest.mark.slow
async def test_three_hundred_megabytes(arena: Arena) -> None:
    code = """
import sys
for i in range(300): sys.stdout.buffer.write(bytes([i & 255]) * (1 << 20))
"""
    expected = hashlib.sha256()
    for i in range(300):
        expected.update(bytes([i & 255]) * MIB)
    result = await arena.python(code, kept_bytes=64 * 1024)
    assert (result.exit_code, result.stdout.total) == (0, 300 * MIB)
    assert result.stdout.digest == "sha256:" + expected.hexdigest()
    assert result.stdout.head == bytes(32 * 1024)
    assert result.stdout.tail == bytes([299 & 255]) * 32 * 1024
    assert result.stdout.omitted == 300 * MIB - 64 * 1024


async def test_nothing(arena: Arena) -> None:
    result = await arena.run("true")
    assert (result.stdout.total, result.stdout.digest, result.stdout.head) == (0, digest(b""), b"")


async def test_a_sink_that_never_returns_does_not_hold_the_step(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.executor.sandbox.output.Delivery.__init__.__defaults__", (0.2,))

    class Stuck:
        async def chunk(self, stream: str, offset: int, data: bytes) -> None:
            await asyncio.Event().wait()

    result = await arena.run("head -c 30M /dev/zero", sink=Stuck())
    assert (result.exit_code, result.stdout.total) == (0, 30 * MIB)
    assert result.stdout.digest == digest(bytes(30 * MIB))
    assert result.live_dropped >= 25 * MIB


async def test_a_sink_that_fails_does_not_hold_the_step(
    arena: Arena, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def chunk(self, stream: str, offset: int, data: bytes) -> None:
            raise RuntimeError("no more")

    result = await arena.run("head -c 3M /dev/zero; echo end >&2", sink=Broken())
    assert (result.exit_code, result.stdout.total, result.stderr.head) == (0, 3 * MIB, b"end\n")
    assert "its live output is incomplete" in caplog.text


async def test_a_slow_sink_gets_everything(arena: Arena) -> None:
    class Slow(Recorder):
        async def chunk(self, stream: str, offset: int, data: bytes) -> None:
            await asyncio.sleep(0.001)
            await super().chunk(stream, offset, data)

    slow = Slow()
    result = await arena.run("head -c 20M /dev/zero", sink=slow)
    assert (len(slow.data["stdout"]), result.live_dropped) == (20 * MIB, 0)


@pytest.mark.parametrize("number", [4, 6, 9, 11, 15])
async def test_a_signal_is_reported(arena: Arena, number: int) -> None:
    result = await arena.run(f"kill -{number} $$")
    assert (result.ending, result.signal, result.exit_code) == (Ending.SIGNALED, number, None)


@pytest.mark.parametrize("code", [0, 1, 2, 42, 127, 128, 255])
async def test_an_exit_code_is_reported(arena: Arena, code: int) -> None:
    result = await arena.run(f"exit {code}")
    assert (result.ending, result.exit_code, result.signal) == (Ending.EXITED, code, 0)
