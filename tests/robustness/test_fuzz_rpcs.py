"""Every rpc of every service with messages and bytes that nobody meant: typed answers, nothing harmed, nothing ill."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest
from tests.support.fuzz.calls import METHODS
from tests.support.fuzz.driving import Driver
from tests.support.fuzz.laws import Laws
from tests.support.fuzz.making import world
from tests.support.fuzz.world import World

KINDS = ("random", "mutated", "wire")
ODD = ["a\0b", "../..", "\x1b]0;x\x07\u202e", "x" * 5000]


@pytest.fixture(scope="module")
def laws() -> Iterator[Laws]:
    with world() as made:
        yield made


@pytest.fixture(scope="module")
def fuzzed(laws: Laws) -> World:
    return laws.world


def drive(laws: Laws, odd: list[str], random: int, mutated: int, wire: int, share: float) -> None:
    """All rpcs with so many calls of each kind; fails with everything that was found.

    `share`: of how many rpcs, at least, some messages that nobody meant were answered OK.
    """
    driver = Driver(laws.world)
    found = []
    for method in METHODS:
        for kind, examples in zip(KINDS, (random, mutated, wire), strict=True):
            try:
                getattr(driver, kind)(method, examples)
            except AssertionError as error:
                found.append(f"[{kind}] {error}")
        try:
            driver.odd_fields(method, odd)
        except AssertionError as error:
            found.append(f"[odd] {error}")
    assert not found, "\n\n".join(found)
    laws.unharmed()
    # A fuzzer whose every message is refused at the door shows nothing about the house.
    # Archiving is refused here always: no run is old enough for it (test_archiving.py does it).
    asked = [method for method in METHODS if method.name != "ArchiveRun"]
    never = [method.name for method in asked if not driver.tally.answered_ok(method)]
    assert never == [], {name: driver.tally.seen.get(name) for name in never}
    deep = [method.name for method in METHODS if driver.changed.answered_ok(method)]
    assert len(deep) >= len(METHODS) * share, {method.name for method in METHODS} - set(deep)


@pytest.mark.timeout(300)
def test_every_rpc_answers_ok_or_with_a_typed_error(laws: Laws) -> None:
    drive(laws, ODD[:1], random=2, mutated=7, wire=2, share=0.7)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("turn", range(5))
def test_every_rpc_for_long(turn: int) -> None:
    """Each in a world of its own: long enough, and its own token is revoked by chance."""
    with world() as made:
        drive(made, ODD, random=60, mutated=200, wire=60, share=0.95)


def test_clients_that_leave_harm_nobody(laws: Laws, fuzzed: World) -> None:
    """Calls that are given up at once, or a few milliseconds into the work."""
    for method in METHODS:
        for number, seed in enumerate(fuzzed.seeds_of(method)[:3]):
            fuzzed.caller.leave(method, seed.SerializeToString(), number / 1000)
    laws.unharmed()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


OPENED = PREFACE + frame(4, 0, 0, b"")
RESET = b"".join(frame(1, 5, n, b"\x82") + frame(3, 0, n, b"\0\0\0\x08") for n in range(1, 999, 2))
HUGE_TABLE = (
    PREFACE + frame(4, 0, 0, struct.pack(">HI", 1, 2**32 - 1)) + frame(1, 5, 1, b"\x3f\xff\xff\xff\xff\x7f")
)
HALVES = {
    "nothing": b"",
    "half a preface": PREFACE[:9],
    "no http/2": b"GET / HTTP/1.1\r\nHost: x\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + b"\0" * 200,
    "half a frame": OPENED + frame(1, 4, 1, b"\x82" * 40)[:20],
    "headers that never end": OPENED + frame(1, 0, 1, b"\x00\x01a\x01b") * 3,
    "continuations without end": OPENED + frame(1, 0, 1, b"\x82") + frame(9, 0, 1, b"\x82" * 900) * 200,
    "a table that is too large": HUGE_TABLE,
    "a frame that is too large": OPENED + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * 70_000,
    "resets": OPENED + RESET,
    "noise": PREFACE + bytes((n * 7919 + 13) % 256 for n in range(9000)),
}


@pytest.mark.parametrize("what", HALVES)
def test_half_a_request_harms_nobody_else(laws: Laws, fuzzed: World, what: str) -> None:
    """Sent twenty times to each service, and left open meanwhile: all others are served."""
    opened = []
    try:
        for address in fuzzed.up.endpoints.values():
            host, _, port = address.rpartition(":")
            for _ in range(20):
                connection = socket.create_connection((host, int(port)))
                opened.append(connection)
                try:
                    connection.sendall(HALVES[what])
                except ConnectionError:
                    continue  # it was told to go away before it had said everything
        laws.unharmed()
    finally:
        for connection in opened:
            connection.close()
    laws.unharmed()
