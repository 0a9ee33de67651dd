"""Builds the gateways that the configuration names."""

from __future__ import annotations

from dataclasses import replace

from interlock.common.clock import Clock
from interlock.planner.commands.models import Models, Route
from interlock.planner.domain.breaker import Breaker
from interlock.planner.domain.model import PURPOSES
from interlock.planner.gateways import local, router
from interlock.planner.gateways.base import Gateway, GatewayInfo
from interlock.planner.gateways.guarded import GuardedGateway
from interlock.planner.gateways.openai import OpenAIGateway
from interlock.planner.gateways.traced import TracedGateway
from interlock.planner.gateways.transport import Limits, Transport
from interlock.planner.model_config import ModelConfig, ModelsConfig


def models(config: ModelsConfig, clock: Clock) -> Models:
    """Every gateway behind its breaker, on the routes of its purposes; nothing is started or called yet."""
    guards = {each.name: _guarded(each, clock) for each in config.gateways}
    traced = {name: TracedGateway(guard) for name, guard in guards.items()}
    routes = {
        purpose: Route(tuple(traced[name] for name in config.routes[purpose]), config.plan_attempts)
        for purpose in PURPOSES
    }
    return Models(routes, clock, guards)


def _guarded(config: ModelConfig, clock: Clock) -> GuardedGateway:
    breaker = Breaker(config.breaker_failures, config.breaker_seconds)
    return GuardedGateway(build(config), clock, concurrency=config.concurrency, breaker=breaker)


def build(config: ModelConfig) -> Gateway:
    """One gateway; nothing is started or called yet."""
    if config.gateway == "local":
        return local.LocalGateway(
            info=replace(local.INFO, name=config.name, timeout_s=float(config.timeout_s))
        )
    info = GatewayInfo(
        name=config.name,
        kind=config.gateway,
        model=config.model,
        base_url=config.base_url,
        max_prompt_chars=config.max_prompt_chars,
        max_reply_tokens=config.max_reply_tokens,
        timeout_s=float(config.timeout_s),
        price=config.price,
    )
    if config.gateway == "router":
        limited = min(config.max_prompt_chars, router.MAX_PROMPT_CHARS)
        info = replace(
            info, model=config.model or "router", dialect="router", max_prompt_chars=limited, calls=2
        )
        return router.RouterGateway(info, _transport(config), config.router_tier)
    return OpenAIGateway(info, _transport(config))


def _transport(config: ModelConfig) -> Transport:
    key = config.api_key.reveal() if config.api_key else ""
    headers = {each.name: each.value.reveal() for each in config.headers}
    keys = [key, *(each.value.reveal() for each in config.headers if each.hidden)]
    if key and config.gateway == "router":
        headers["x-api-key"] = key
    elif key:
        headers["authorization"] = f"Bearer {key}"
    limits = Limits(attempts=config.attempts, reply_bytes=config.max_reply_bytes)
    return Transport(config.base_url.rstrip("/") + "/", headers, limits, keys=keys)
