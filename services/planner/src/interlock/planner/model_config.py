"""What the planner is told of its gateways, wherever. Keys live here and in request headers, nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from interlock.planner.domain.model import Price

KINDS = ("local", "openai", "router")
_MAX_KEY = 8_192

Bad = Callable[[str], NoReturn]
"""Raises the error of a setting, given what is wrong with it."""


class Secret:
    """A key that does not show itself: not in repr, str, logs of a dataclass, or a traceback's locals."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself, for the header that carries it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __bool__(self) -> bool:
        return bool(self._value)


@dataclass(frozen=True, slots=True)
class Header:
    """A header of every request; with ``hidden`` it carries a secret, which replies may not bring back."""

    name: str
    value: Secret
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One gateway; ``gateway`` is its kind. ``timeout_s`` bounds one question; sizes are characters, tokens, bytes."""

    gateway: str = "local"
    base_url: str = ""
    model: str = ""
    api_key: Secret | None = None
    router_tier: str = ""
    timeout_s: int = 120
    attempts: int = 3
    max_prompt_chars: int = 400_000
    max_reply_tokens: int = 8_192
    max_reply_bytes: int = 2 * 1024 * 1024
    given_name: str = ""
    headers: tuple[Header, ...] = ()
    concurrency: int = 8
    breaker_failures: int = 5
    breaker_seconds: float = 30.0
    price: Price | None = None

    @property
    def name(self) -> str:
        """What it is called in journals, traces and errors: its name in the settings file, else its kind."""
        return self.given_name or self.gateway


@dataclass(frozen=True, slots=True)
class ModelsConfig:
    """Every gateway, and for each purpose the names of those that are asked, in their order."""

    gateways: tuple[ModelConfig, ...]
    routes: Mapping[str, tuple[str, ...]]
    plan_attempts: int = 3


def checked_base_url(text: str, bad: Bad) -> str:
    """The address of a server without a slash at its end, and without anything that could be a key."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        bad("is not a URL")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        bad("must start with http:// or https:// and name a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        bad("must not hold a user, password, query or fragment; a key has a setting of its own")
    return text.rstrip("/")


def checked_key(text: str, bad: Bad) -> Secret:
    """A key that can stand in a header."""
    if len(text) > _MAX_KEY or not all("!" <= char <= "~" for char in text):
        bad("does not hold a key: visible ASCII without spaces, on one line")
    return Secret(text)


def key_in(path: Path, bad: Bad) -> Secret:
    """The key that a file holds, as mounted by a secret store."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_KEY + 2)
    except OSError as error:
        bad(f"cannot be read: {os.strerror(error.errno or 0)}")
    if not raw.strip():
        bad("names an empty file")
    return checked_key(raw.decode("utf-8", "replace").strip(), bad)
