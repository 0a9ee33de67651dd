"""A question to a model as it is addressed: see ``interlock.planner.domain.recorded``."""

from __future__ import annotations

from typing import Any

import rfc8785

from interlock.planner.gateways.base import CompletionRequest, GatewayInfo, JsonSchema


def canonical(request: CompletionRequest, schema: JsonSchema | None, info: GatewayInfo) -> bytes:
    """The canonical JSON of a request to this gateway; ``schema`` of ``None`` asks for text."""
    return rfc8785.dumps(document(request, schema, info))


def document(request: CompletionRequest, schema: JsonSchema | None, info: GatewayInfo) -> dict[str, Any]:
    """The same as data. The limits belong to it: what a prompt holds of a large context depends on them."""
    system = [{"role": "system", "content": request.system}] if request.system else []
    return {
        "purpose": request.purpose,
        "prompt_version": request.prompt_version,
        "model": info.model,
        "messages": [*system, {"role": "user", "content": request.prompt}],
        "parameters": {
            "dialect": info.dialect,
            "max_prompt_chars": info.max_prompt_chars,
            "max_reply_tokens": info.max_reply_tokens,
            "max_tokens": request.max_tokens,
            "schema": dict(schema) if schema is not None else None,
        },
    }
