"""Rpcs as OpenAPI operations: parameters, body, responses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from interlock.gateway.api.methods import Binding, Method, field_at
from interlock.gateway.openapi.descriptions import describe, summary
from interlock.gateway.openapi.schemas import Schema, Schemas
from interlock.gateway.rest.service import CREATES
from interlock.gateway.streams.frames import BYTES, EVENTS, LINES, carries_bytes
from interlock.gateway.transcode.texts import TEXT_MESSAGES
from interlock.v1 import role_pb2

_VARIABLE = re.compile(r"\{([^=}]+)(=[^}]*)?\}")
_MAX_NESTING = 3
_BEYOND = (
    "Server-Sent Events: `id:` is the cursor, and `Last-Event-ID` goes on after it; each `data:` is one message. "
    "Events named `heartbeat`, `error` and `end` are as docs/http.md describes them."
)


def path_of(binding: Binding) -> str:
    """The template as OpenAPI writes it."""
    return _VARIABLE.sub(r"{\1}", binding.template.text)


def operation(method: Method, binding: Binding, schemas: Schemas, number: int) -> Schema:
    """One way to ask for one rpc; `number` counts its rules from 0."""
    text = describe(method.full_name)
    short = method.service.rpartition(".")[2]
    made: Schema = {
        "operationId": f"{short}_{method.name}" + (f"_{number + 1}" if number else ""),
        "tags": [short],
        "summary": summary(text),
        "description": text + _role(method),
        "parameters": list(_parameters(method, binding, schemas)),
        "responses": _responses(method, binding, schemas),
    }
    if binding.body:
        made["requestBody"] = _body(method, binding, schemas)
    return made


def _role(method: Method) -> str:
    number = method.options.Extensions[role_pb2.role]
    name = str(role_pb2.Role.Name(number)).removeprefix("ROLE_").lower()
    return f"\n\nNeeds the role {name}." if number else ""


def _parameters(method: Method, binding: Binding, schemas: Schemas) -> Iterator[Schema]:
    bound = {variable.field for variable in binding.template.variables}
    for path in (variable.field for variable in binding.template.variables):
        yield _parameter("path", path, field_at(method.input, path), schemas)
    if binding.body != "*":
        yield from _query(method.input, "", {*bound, binding.body}, schemas, 0)


def _query(
    message: Descriptor, prefix: str, without: set[str], schemas: Schemas, depth: int
) -> Iterator[Schema]:
    for field in message.fields:
        path = prefix + field.name
        if path in without:
            continue
        inner = field.message_type
        if inner is None or inner.full_name in TEXT_MESSAGES or inner.GetOptions().map_entry:
            yield _parameter("query", path, field, schemas)
        elif not field.is_repeated and depth < _MAX_NESTING:
            yield from _query(inner, f"{path}.", without, schemas, depth + 1)


def _parameter(place: str, path: str, field: FieldDescriptor, schemas: Schemas) -> Schema:
    schema = schemas.of_field(field)
    made: Schema = {"name": path, "in": place, "schema": schema}
    if text := schema.pop("description", ""):
        made["description"] = text
    if place == "path":
        made["required"] = True
    elif schema.get("type") == "object":
        made |= {"style": "deepObject", "explode": True}
    return made


def _body(method: Method, binding: Binding, schemas: Schemas) -> Schema:
    if binding.body != "*":
        schema = schemas.of_field(field_at(method.input, binding.body))
    else:
        bound = {variable.field for variable in binding.template.variables}
        if bound:
            schema = schemas.of_fields(method.input, bound)
        else:
            schema = schemas.of_message(method.input)
    return {"content": {"application/json": {"schema": schema}}}


def _responses(method: Method, binding: Binding, schemas: Schemas) -> Schema:
    output: Any = schemas.of_message(method.output)
    text = describe(method.output.full_name)
    if binding.response_body:
        field = field_at(method.output, binding.response_body)
        output = schemas.of_field(field)
        text = describe(field.full_name)
    problem = {"default": {"$ref": "#/components/responses/Problem"}}
    if not method.server_streaming:
        status = "201" if method.full_name in CREATES else "200"
        content = {"application/json": {"schema": output}}
        return {status: {"description": text, "content": content}, **problem}
    forms: Schema = {EVENTS: {"schema": {"type": "string"}}, LINES: {"schema": output}}
    if carries_bytes(method):
        forms[BYTES] = {"schema": {}}
    return {"200": {"description": f"{text}\n\n{_BEYOND}", "content": forms}, **problem}
