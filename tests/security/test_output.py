"""Output is exact: every byte is hashed and counted, what is kept is the stream's own head and tail."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from tests.support.arena import Arena as Inner
from tests.support.service_arena import ServiceArena as Arena

from interlock.executor.sandbox.base import MIB, Ending


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Recorder:
    """Keeps what it is given and checks that it arrives in order."""

    def __init__(self) -> None:
        self.data = {"stdout": bytearray(), "stderr": bytearray()}

    async def chunk(self, stream: str, offset: int, data: bytes) -> None:
        assert offset == len(self.data[stream])
        self.data[stream] += data


async def test_every_byte_value_is_kept_as_it_is(inner: Inner) -> None:
    data = bytes(range(256)) + b"\x1b[31mred\x1b[0m\r\n\xff\xfe\x00"
    recorder = Recorder()
    result = await inner.python(
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


async def test_every_byte_value_arrives_through_the_service(arena: Arena) -> None:
    data = bytes(range(256)) + b"\x1b[31mred\x1b[0m\r\n\xff\xfe\x00"
    result = await arena.python(
        f"import sys; sys.stdout.buffer.write({data!r}); sys.stderr.buffer.write({data!r})"
    )
    for stream in (result.stdout, result.stderr):
        assert (stream.head, stream.tail, stream.total, stream.digest) == (data, b"", len(data), digest(data))


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
    inner: Inner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.executor.sandbox.output.Delivery.__init__.__defaults__", (0.2,))

    class Stuck:
        async def chunk(self, stream: str, offset: int, data: bytes) -> None:
            await asyncio.Event().wait()

    result = await inner.run("head -c 30M /dev/zero", sink=Stuck())
    assert (result.exit_code, result.stdout.total) == (0, 30 * MIB)
    assert result.stdout.digest == digest(bytes(30 * MIB))
    assert result.live_dropped >= 25 * MIB


async def test_a_sink_that_fails_does_not_hold_the_step(
    inner: Inner, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def chunk(self, stream: str, offset: int, data: bytes) -> None:
            raise RuntimeError("no more")

    result = await inner.run("head -c 3M /dev/zero; echo end >&2", sink=Broken())
    assert (result.exit_code, result.stdout.total, result.stderr.head) == (0, 3 * MIB, b"end\n")
    assert "its live output is incomplete" in caplog.text


async def test_a_slow_sink_gets_everything(inner: Inner) -> None:
    class Slow(Recorder):
        async def chunk(self, stream: str, offset: int, data: bytes) -> None:
            await asyncio.sleep(0.001)
            await super().chunk(stream, offset, data)

    slow = Slow()
    result = await inner.run("head -c 20M /dev/zero", sink=slow)
    assert (len(slow.data["stdout"]), result.live_dropped) == (20 * MIB, 0)


async def test_signals_are_reported(arena: Arena) -> None:
    numbers = (4, 6, 9, 11, 15)
    results = await asyncio.gather(*(arena.run(f"kill -{number} $$") for number in numbers))
    assert [(each.ending, each.signal, each.exit_code) for each in results] == [
        (Ending.SIGNALED, number, None) for number in numbers
    ]


async def test_exit_codes_are_reported(arena: Arena) -> None:
    codes = (0, 1, 2, 42, 127, 128, 255)
    results = await asyncio.gather(*(arena.run(f"exit {code}") for code in codes))
    assert [(each.ending, each.exit_code, each.signal) for each in results] == [
        (Ending.EXITED, code, 0) for code in codes
    ]
