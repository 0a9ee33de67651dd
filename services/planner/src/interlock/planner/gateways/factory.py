"""Builds the gateway that the configuration names."""

from __future__ import annotations

from dataclasses import replace

from interlock.planner.config import ModelConfig
from interlock.planner.gateways import local, router
from interlock.planner.gateways.base import Gateway, GatewayInfo
from interlock.planner.gateways.openai import OpenAIGateway
from interlock.planner.gateways.transport import Limits, Transport


def build(config: ModelConfig) -> Gateway:
    """The configured gateway; nothing is started or called yet."""
    limits = Limits(attempts=config.attempts, reply_bytes=config.max_reply_bytes)
    if config.gateway == "local":
        return local.LocalGateway()
    key = config.api_key.reveal() if config.api_key else ""
    info = GatewayInfo(
        name=config.gateway,
        model=config.model,
        base_url=config.base_url,
        max_prompt_chars=config.max_prompt_chars,
        max_reply_tokens=config.max_reply_tokens,
    )
    base = config.base_url.rstrip("/") + "/"
    if config.gateway == "router":
        headers = {"x-api-key": key} if key else {}
        limited = min(config.max_prompt_chars, router.MAX_PROMPT_CHARS)
        info = replace(
            info, model=config.model or "router", dialect="router", max_prompt_chars=limited, calls=2
        )
        return router.RouterGateway(info, Transport(base, headers, limits), config.router_tier)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return OpenAIGateway(info, Transport(base, headers, limits))
