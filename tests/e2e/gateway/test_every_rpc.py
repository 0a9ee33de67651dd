"""Every rpc with an HTTP rule is reached through the gateway. Who is refused: test_every_refusal.py."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from tests.e2e.gateway.conftest import Gateway

from interlock.common.access.roles import required_role
from interlock.common.interceptors.base import Rpc
from interlock.common.reasons import Reason
from interlock.gateway.api import catalog
from interlock.gateway.api.methods import Binding, Method, field_at

ROUTES = [(method, binding) for method in catalog.methods() for binding in method.bindings]
IDS = [f"{method.name}-{binding.verb}-{binding.template.text}" for method, binding in ROUTES]
routes = pytest.mark.parametrize(("method", "binding"), ROUTES, ids=IDS)


def path_of(method: Method, binding: Binding) -> str:
    """The route's path with a value in each variable that passes the field's type."""

    def value(found: re.Match[str]) -> str:
        field = field_at(method.input, found[1])
        return "run-none" if field.type == FieldDescriptor.TYPE_STRING else "1"

    return re.sub(r"\{([\w.]+)\}", value, binding.template.text)


@routes
def test_the_service_behind_answers(gateway: Gateway, method: Method, binding: Binding) -> None:
    """With nothing but ids of nothing: a message of the rpc's own type, or a reason that only a service gives."""
    body: Any = {"json": {}} if binding.body else {}
    headers = {"accept": "application/x-ndjson", "grpc-timeout": "3S"}
    path = path_of(method, binding)
    with gateway.http.stream(binding.verb, path, headers=headers, **body) as answer:
        first = next(answer.iter_lines(), "{}") if method.server_streaming else answer.read().decode()
    if answer.status_code == 200:
        json_format.Parse(first, method.response(b""))
        return
    problem = httpx.Response(200, content=first).json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert Reason(problem["reason"])
    assert problem["type"] == f"urn:interlock:error:{problem['reason']}", "the gateway itself refused it"
    assert problem["reason"] not in (Reason.INTERNAL, Reason.UNAUTHENTICATED, Reason.UNAVAILABLE), problem


def test_only_what_services_ask_of_one_another_has_no_rule() -> None:
    without = [method for method in catalog.methods() if not method.bindings]
    assert all(required_role(Rpc(method.path, False, False)) == "service" for method in without)
    assert len(ROUTES) >= 50
