"""The whole API as one OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import metadata
from typing import Any

from interlock.common.reasons import Reason
from interlock.gateway import problems
from interlock.gateway.api import catalog
from interlock.gateway.api.methods import Method
from interlock.gateway.openapi.descriptions import describe
from interlock.gateway.openapi.operations import operation, path_of
from interlock.gateway.openapi.schemas import Schema, Schemas
from interlock.gateway.transcode.document import write_json

_ABOUT = (
    "Runs an AI agent's work one step at a time: effects are computed in isolation, shown, approved exactly, and only "
    "then published. Every rpc of the services, as JSON; names may be written with underscores too."
)
_TEXT: Schema = {"type": "string"}


@cache
def document() -> bytes:
    """The document as JSON; made once."""
    return write_json(build(catalog.methods()))


def build(methods: Iterable[Method]) -> Schema:
    """The document of some rpcs."""
    schemas = Schemas()
    paths: dict[str, Schema] = {}
    services: dict[str, str] = {}
    for method in methods:
        for number, binding in enumerate(method.bindings):
            item = paths.setdefault(path_of(binding), {})
            item[binding.verb.lower()] = operation(method, binding, schemas, number)
            services[method.service.rpartition(".")[2]] = describe(method.service)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Interlock", "version": metadata.version("interlock"), "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": name, "description": text} for name, text in services.items()],
        "paths": paths,
        "components": {
            "schemas": {"Problem": _problem(), **schemas.components},
            "responses": {"Problem": _problem_response()},
            "securitySchemes": {"token": _security()},
        },
    }


def _security() -> Schema:
    return {
        "type": "http",
        "scheme": "bearer",
        "description": "The local token is in the data directory's `token` file.",
    }


def _problem_response() -> Schema:
    content: dict[str, Any] = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": "Why it failed (RFC 9457).", "content": content}


def _problem() -> Schema:
    violation = {"type": "object", "properties": {"field": _TEXT, "description": _TEXT}}
    properties: dict[str, Schema] = {
        "type": {
            **_TEXT,
            "description": "`urn:interlock:error:` and the reason; `about:blank` for a failure of HTTP.",
        },
        "title": {**_TEXT, "description": "What the reason means."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {**_TEXT, "description": "One sentence for people."},
        "reason": {
            **_TEXT,
            "enum": [reason.value for reason in Reason],
            "description": "Why: docs/errors has a page.",
        },
        "code": {**_TEXT, "description": "The gRPC status code."},
        "field": {**_TEXT, "description": "The field, parameter or header at fault."},
        "fix": {**_TEXT, "description": "What to do."},
        "violations": {"type": "array", "items": violation, "description": "Every field that breaks a rule."},
        "metadata": {"type": "object", "additionalProperties": _TEXT, "description": "What else is known."},
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "request_id": {**_TEXT, "description": "Names the request in the logs."},
    }
    required = ["type", "title", "status", "detail", "reason"]
    return {"type": "object", "description": "A failure.", "properties": properties, "required": required}
