"""Journals made by hand, independently of the code that writes real ones."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

ZERO = "sha256:" + "0" * 64
RUN = "run-01jd9yq8x0c3v7m5k2h4n6p8rs"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def make_events(datas: list[dict[str, Any]], run_id: str = RUN) -> list[bytes]:
    events: list[bytes] = []
    prev = ZERO
    for seq, data in enumerate(datas, 1):
        event = {
            "v": 1,
            "run_id": run_id,
            "seq": seq,
            "prev": prev,
            "at": f"2026-11-22T12:00:{seq % 60:02d}.000000Z",
            "type": "run.created" if seq == 1 else "step.succeeded",
            "step": 0 if seq == 1 else seq - 1,
            "data": data,
        }
        events.append(canonical(event))
        prev = digest(events[-1])
    return events


def make_bundle(events: list[bytes], payloads: list[bytes], run_id: str = RUN) -> list[bytes]:
    head = digest(events[-1]) if events else ZERO
    lines = [
        line(
            {
                "bundle": "interlock-journal",
                "version": 1,
                "run_id": run_id,
                "events": len(events),
                "head": head,
            }
        )
    ]
    lines += [line({"event": base64.b64encode(each).decode()}) for each in events]
    for body in payloads:
        encoded = base64.b64encode(body).decode()
        lines.append(
            line({"payload": digest(body), "media_type": "text/plain; charset=utf-8", "data": encoded})
        )
    return [*lines, line({"end": True, "lines": len(lines) + 1})]


@pytest.fixture
def bundle() -> list[bytes]:
    """Four events, two payloads."""
    one, two = b"a prompt\n", "größer".encode()
    datas: list[dict[str, Any]] = [
        {"goal": "tidy up", "labels": {"x_payload": digest(b"only a label")}},
        {"call": {"prompt_payload": digest(one), "n": 3}},
        {"items": [{"reply_payload": digest(two)}, {"again_payload": digest(one)}]},
        {},
    ]
    return make_bundle(make_events(datas), [one, two])


@pytest.fixture
def build() -> Callable[[list[dict[str, Any]], list[bytes]], list[bytes]]:
    """Makes a bundle from the data of events and payloads."""
    return lambda datas, payloads: make_bundle(make_events(datas), payloads)
