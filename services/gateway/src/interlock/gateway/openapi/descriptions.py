"""The comments of the protos: a running program's descriptors do not have them, so `make gen` writes them down."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources


@cache
def _all() -> dict[str, str]:
    found: dict[str, str] = json.loads(
        (resources.files("interlock.v1") / "descriptions.json").read_text("utf-8")
    )
    return found


def describe(full_name: str) -> str:
    """The comment of a message, field, enum, value, service or rpc; empty when there is none."""
    return _all().get(full_name, "")


def summary(text: str) -> str:
    """Its first sentence, without the full stop."""
    return text.split(". ", 1)[0].split("\n", 1)[0].strip().rstrip(".")
