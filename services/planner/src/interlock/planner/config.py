"""The planner's settings: one gateway from the environment, or several from the file that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from interlock.common.config import Address, env_int, env_path, env_text, service_address
from interlock.common.errors import InterlockError, Reason
from interlock.planner import gateways_file
from interlock.planner.domain.model import PURPOSES
from interlock.planner.model_config import (
    KINDS,
    Bad,
    ModelConfig,
    ModelsConfig,
    Secret,
    checked_base_url,
    checked_key,
    key_in,
)

FILE = "INTERLOCK_PLANNER_GATEWAYS"


@dataclass(frozen=True, slots=True)
class PlannerConfig:
    """Where the planner listens, its models, and ``INTERLOCK_READY_FILE``, written with the bound address."""

    address: Address
    orchestrator: Address
    models: ModelsConfig
    ready_file: Path | None = None


_DEFAULTS = ModelConfig()
_NUMBERS = {
    "timeout_s": ("INTERLOCK_MODEL_TIMEOUT", *gateways_file.BOUNDS["timeout"]),
    "attempts": ("INTERLOCK_MODEL_ATTEMPTS", *gateways_file.BOUNDS["attempts"]),
    "max_prompt_chars": ("INTERLOCK_MODEL_MAX_PROMPT_CHARS", *gateways_file.BOUNDS["max_prompt_chars"]),
    "max_reply_tokens": ("INTERLOCK_MODEL_MAX_REPLY_TOKENS", *gateways_file.BOUNDS["max_reply_tokens"]),
    "max_reply_bytes": ("INTERLOCK_MODEL_MAX_REPLY_BYTES", *gateways_file.BOUNDS["max_reply_bytes"]),
}
_OF_ONE = (
    "INTERLOCK_MODEL_GATEWAY",
    "INTERLOCK_MODEL_BASE_URL",
    "INTERLOCK_MODEL_NAME",
    "INTERLOCK_MODEL_TIER",
    "INTERLOCK_MODEL_API_KEY_FILE",
    *(name for name, _, _ in _NUMBERS.values()),
)
"""Variables of the one gateway that the environment tells; a file says it for each of its own."""


def load(env: Mapping[str, str] | None = None) -> PlannerConfig:
    """Settings from ``INTERLOCK_…`` variables. Raises INVALID_ARGUMENT naming the variable at fault."""
    ready = env_text("INTERLOCK_READY_FILE", "", env)
    ready_file = env_path("INTERLOCK_READY_FILE", Path(ready), env) if ready else None
    return PlannerConfig(
        service_address("planner", env), service_address("orchestrator", env), load_models(env), ready_file
    )


def load_models(env: Mapping[str, str] | None = None) -> ModelsConfig:
    """Every gateway: of the file that ``INTERLOCK_PLANNER_GATEWAYS`` names, else the one of the environment.

    Raises INVALID_ARGUMENT naming the variable, or the file's line and field; PERMISSION_DENIED for a file that
    holds a key and that other users can read.
    """
    attempts = env_int("INTERLOCK_PLAN_ATTEMPTS", 3, minimum=1, maximum=10, env=env)
    if not env_text(FILE, "", env):
        one = load_model(env)
        return ModelsConfig((one,), dict.fromkeys(PURPOSES, (one.name,)), attempts)
    for name in _OF_ONE:
        if env_text(name, "", env):
            _bad(name, f"is set beside {FILE}, where it means nothing; say it in that file, for each gateway")
    return gateways_file.load(env_path(FILE, Path("/"), env), attempts, env)


def load_model(env: Mapping[str, str] | None = None) -> ModelConfig:
    """The one gateway of the ``INTERLOCK_MODEL_…`` variables."""
    gateway = env_text("INTERLOCK_MODEL_GATEWAY", "local", env)
    if gateway not in KINDS:
        _bad("INTERLOCK_MODEL_GATEWAY", f"is {gateway[:40]!r}; it must be one of {', '.join(KINDS)}")
    base_url = _base_url(gateway, env_text("INTERLOCK_MODEL_BASE_URL", "", env))
    model = env_text("INTERLOCK_MODEL_NAME", "", env)
    if gateway == "openai" and not model:
        _bad("INTERLOCK_MODEL_NAME", "is not set; an OpenAI-compatible server needs the name of a model")
    numbers: dict[str, Any] = {
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
    if gateway == "local":
        return ""
    name = "INTERLOCK_MODEL_BASE_URL"
    if not text:
        _bad(name, f"is not set; the gateway {gateway!r} needs the address of a server")
    return checked_base_url(text, _of(name))


def _key(env: Mapping[str, str] | None) -> Secret | None:
    if text := env_text("INTERLOCK_MODEL_API_KEY", "", env):
        return checked_key(text, _of("INTERLOCK_MODEL_API_KEY"))
    name = "INTERLOCK_MODEL_API_KEY_FILE"
    return key_in(env_path(name, Path("/"), env), _of(name)) if env_text(name, "", env) else None


def _of(name: str) -> Bad:
    def bad(what: str) -> NoReturn:
        _bad(name, what)

    return bad


def _bad(name: str, what: str) -> NoReturn:
    raise InterlockError(Reason.INVALID_ARGUMENT, f"{name} {what}.", field=name, fix="See docs/models.md.")
