"""The planner's settings, from the environment. Keys live here and in request headers, nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from interlock.common.config import Address, env_int, env_path, env_text, service_address
from interlock.common.errors import InterlockError, Reason

GATEWAYS = ("local", "openai", "router")
_MAX_KEY = 8_192


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
class ModelConfig:
    """Which model answers. ``timeout_s`` bounds one call with its retries; sizes are characters, tokens, bytes."""

    gateway: str = "local"
    base_url: str = ""
    model: str = ""
    api_key: Secret | None = None
    router_tier: str = ""
    timeout_s: int = 120
    attempts: int = 3
    plan_attempts: int = 3
    max_prompt_chars: int = 400_000
    max_reply_tokens: int = 8_192
    max_reply_bytes: int = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PlannerConfig:
    """Where the planner listens, its model, and ``INTERLOCK_READY_FILE``, written with the bound address."""

    address: Address
    orchestrator: Address
    model: ModelConfig
    ready_file: Path | None = None


_DEFAULTS = ModelConfig()
_NUMBERS = {
    "timeout_s": ("INTERLOCK_MODEL_TIMEOUT", 1, 3_600),
    "attempts": ("INTERLOCK_MODEL_ATTEMPTS", 1, 10),
    "plan_attempts": ("INTERLOCK_PLAN_ATTEMPTS", 1, 10),
    "max_prompt_chars": ("INTERLOCK_MODEL_MAX_PROMPT_CHARS", 2_000, 10_000_000),
    "max_reply_tokens": ("INTERLOCK_MODEL_MAX_REPLY_TOKENS", 64, 1_000_000),
    "max_reply_bytes": ("INTERLOCK_MODEL_MAX_REPLY_BYTES", 1_024, 64 * 1024 * 1024),
}


def load(env: Mapping[str, str] | None = None) -> PlannerConfig:
    """Settings from ``INTERLOCK_…`` variables. Raises INVALID_ARGUMENT naming the variable at fault."""
    ready = env_text("INTERLOCK_READY_FILE", "", env)
    ready_file = env_path("INTERLOCK_READY_FILE", Path(ready), env) if ready else None
    return PlannerConfig(
        service_address("planner", env), service_address("orchestrator", env), load_model(env), ready_file
    )


def load_model(env: Mapping[str, str] | None = None) -> ModelConfig:
    """The ``INTERLOCK_MODEL_…`` variables."""
    gateway = env_text("INTERLOCK_MODEL_GATEWAY", "local", env)
    if gateway not in GATEWAYS:
        raise _bad("INTERLOCK_MODEL_GATEWAY", f"is {gateway[:40]!r}; it must be one of {', '.join(GATEWAYS)}")
    base_url = _base_url(gateway, env_text("INTERLOCK_MODEL_BASE_URL", "", env))
    model = env_text("INTERLOCK_MODEL_NAME", "", env)
    if gateway == "openai" and not model:
        raise _bad(
            "INTERLOCK_MODEL_NAME", "is not set; an OpenAI-compatible server needs the name of a model"
        )
    numbers = {
        field: env_int(name, getattr(_DEFAULTS, field), minimum=low, maximum=high, env=env)
        for field, (name, low, high) in _NUMBERS.items()
    }
    return ModelConfig(
        gateway=gateway,
        base_url=base_url,
        model=model,
        api_key=_key(env),
        router_tier=env_text("INTERLOCK_MODEL_TIER", "", env),
        **numbers,
    )


def _base_url(gateway: str, text: str) -> str:
    name = "INTERLOCK_MODEL_BASE_URL"
    if gateway == "local":
        return ""
    if not text:
        raise _bad(name, f"is not set; the gateway {gateway!r} needs the address of a server")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise _bad(name, "is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _bad(name, "must start with http:// or https:// and name a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _bad(
            name, "must not hold a user, password, query or fragment; keys go to INTERLOCK_MODEL_API_KEY"
        )
    return text.rstrip("/")


def _key(env: Mapping[str, str] | None) -> Secret | None:
    text = env_text("INTERLOCK_MODEL_API_KEY", "", env)
    name = "INTERLOCK_MODEL_API_KEY"
    if not text and env_text("INTERLOCK_MODEL_API_KEY_FILE", "", env):
        name = "INTERLOCK_MODEL_API_KEY_FILE"
        text = _key_file(env_path(name, Path("/"), env))
    if len(text) > _MAX_KEY or not all("!" <= char <= "~" for char in text):
        raise _bad(name, "does not hold a key: visible ASCII without spaces, on one line")
    return Secret(text) if text else None


def _key_file(path: Path) -> str:
    name = "INTERLOCK_MODEL_API_KEY_FILE"
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_KEY + 2)
    except OSError as error:
        raise _bad(name, f"cannot be read: {os.strerror(error.errno or 0)}") from None
    if not raw.strip():
        raise _bad(name, "names an empty file")
    return raw.decode("utf-8", "replace").strip()


def _bad(name: str, what: str) -> InterlockError:
    return InterlockError(Reason.INVALID_ARGUMENT, f"{name} {what}.", field=name, fix="See docs/models.md.")
