"""Every rpc of every service in every form that the gateway has for it: nobody gets in who may not.

The forms: its HTTP routes as JSON, for streams as SSE and as NDJSON, and gRPC-Web, also of rpcs without a route. All
of it is found in the descriptors: a new rpc is refused to the wrong people, or this fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from tests.e2e.gateway.conftest import Gateway
from tests.e2e.gateway.test_every_rpc import path_of
from tests.e2e.gateway.test_grpc_web import frames

from interlock.common.access.roles import required_role
from interlock.common.interceptors.base import Rpc
from interlock.gateway.api import catalog
from interlock.gateway.api.methods import Method
from interlock.gateway.rest.service import SERVICE as FACADE

GRANTS = {
    "viewer": {"viewer"},
    "operator": {"viewer", "operator"},
    "approver": {"viewer", "approver"},
    "admin": {"viewer", "operator", "approver", "admin"},
}
STREAMS = ("text/event-stream", "application/x-ndjson")
REFUSED = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}
LET_IN = {"0", "200", "201", "204"}
FOR_VIEWERS = {"GetAgentRun", "GetAgentRunCost"}
CODES = {"16": "UNAUTHENTICATED", "7": "PERMISSION_DENIED"}


@dataclass(frozen=True)
class Form:
    """One way to ask an rpc; `end` says how it ended: the reason of a refusal, or else the status."""

    method: Method
    name: str
    end: Callable[[httpx.Client], str] = field(repr=False)


def forms() -> Iterator[Form]:
    for method in catalog.methods():
        for binding in method.bindings:
            for accept in STREAMS if method.server_streaming else ("application/json",):
                path, body = path_of(method, binding), {"json": {}} if binding.body else {}
                yield Form(
                    method, f"{binding.verb} {path} {accept}", by_route(binding.verb, path, accept, body)
                )
        if not method.client_streaming:
            yield Form(method, f"gRPC-Web {method.path}", by_grpc_web(method))


def by_route(verb: str, path: str, accept: str, body: dict[str, Any]) -> Callable[[httpx.Client], str]:
    def end(client: httpx.Client) -> str:
        headers = {"accept": accept, "grpc-timeout": "5S"}
        with client.stream(verb, path, headers=headers, **body) as answer:
            if answer.status_code not in REFUSED.values():
                return str(answer.status_code)
            answer.read()
            assert answer.headers["content-type"] == "application/problem+json"
            reason: str = answer.json()["reason"]
            assert REFUSED[reason] == answer.status_code
            challenge = answer.headers.get("www-authenticate", "")
            assert challenge.startswith("Bearer") is (reason == "UNAUTHENTICATED")
            return reason

    return end


def by_grpc_web(method: Method) -> Callable[[httpx.Client], str]:
    def end(client: httpx.Client) -> str:
        headers = {"content-type": "application/grpc-web+proto", "grpc-timeout": "5S"}
        body = b"\0\0\0\0\0"
        with client.stream("POST", method.path, content=body, headers=headers) as answer:
            first = next(answer.iter_bytes())
        if first[0] != 0x80:
            return "0"  # a message: whatever comes after it, the call was let in
        messages, trailers = frames(first)
        assert messages == []
        return CODES.get(trailers["grpc-status"], trailers["grpc-status"])

    return end


FORMS = list(forms())


@dataclass
class Tokens:
    """Tokens issued by HTTP, and clients that send them."""

    gateway: Gateway
    opened: list[httpx.Client] = field(default_factory=list)

    def issue(self, role: str, **more: Any) -> dict[str, Any]:
        body = {"subject": f"{role}-of-refusals", "roles": [f"ROLE_{role.upper()}"], **more}
        made: dict[str, Any] = self.gateway.post("/v1/tokens", body)
        return made

    def client(self, authorization: str = "", **headers: str) -> httpx.Client:
        sent = {"authorization": authorization} if authorization else {}
        client = httpx.Client(base_url=self.gateway.url, headers={**sent, **headers}, timeout=60)
        self.opened.append(client)
        return client


@pytest.fixture(scope="module")
def tokens(gateway: Gateway) -> Iterator[Tokens]:
    made = Tokens(gateway)
    yield made
    for each in made.opened:
        each.close()


def role_of(form: Form) -> str:
    return required_role(Rpc(form.method.path, False, False))


def test_every_rpc_has_a_form() -> None:
    """A stream of requests has none: it cannot be sent over HTTP/1.1, and is for services only."""
    asked = {form.method.full_name for form in FORMS}
    without = [each for each in catalog.methods() if each.full_name not in asked]
    assert all(each.client_streaming for each in without)
    assert {required_role(Rpc(each.path, True, True)) for each in without} == {"service"}
    assert {form.name.rpartition(" ")[2] for form in FORMS} >= {"application/json", *STREAMS}


@pytest.mark.parametrize("header", ["", "Bearer wrong"])
def test_nobody_unknown(tokens: Tokens, header: str) -> None:
    client = tokens.client(header)
    assert {form.name: end for form in FORMS if (end := form.end(client)) != "UNAUTHENTICATED"} == {}


@pytest.mark.parametrize(
    "header", ["Basic Zm9vOmJhcg==", "bearer", "Bearer a.b.c", f"Bearer ilk_tok-{'0' * 26}_{'a' * 43}"]
)
def test_what_is_no_token(tokens: Tokens, header: str) -> None:
    form = next(form for form in FORMS if form.method.name == "WhoAmI")
    assert form.end(tokens.client(header)) == "UNAUTHENTICATED"


@pytest.mark.parametrize("role", sorted(GRANTS))
def test_a_role_gets_nothing_else(tokens: Tokens, role: str) -> None:
    """Also when it says in headers that it is somebody else. The facade looks at the arguments first: see below."""
    client = tokens.client(
        f"Bearer {tokens.issue(role)['text']}",
        **{"x-interlock-subject": "root", "x-interlock-roles": "admin,service", "x-forwarded-user": "root"},
    )
    denied = [form for form in FORMS if role_of(form) not in GRANTS[role]]
    assert denied
    for form in denied:
        end = form.end(client)
        assert end == "PERMISSION_DENIED" or (form.method.service == FACADE and end not in LET_IN), (
            form,
            end,
        )


def test_the_facades_routes_with_arguments_that_fit(gateway: Gateway, tokens: Tokens) -> None:
    place = str(gateway.up.project(a__txt="a\n"))
    step = {"step_type": "edit_file", "input": {"path": "a.txt", "new_content": "b\n"}}
    run = gateway.post("/v1/agent-runs", {"goal": "refusals", "workspace_path": place}, 201)["id"]
    gateway.post(f"/v1/agent-runs/{run}/steps", step, 201)
    shown = gateway.post(f"/v1/agent-runs/{run}/execute")
    bodies: dict[str, Any] = {
        "CreateAgentRun": {"goal": "x", "workspace_path": place},
        "AddAgentStep": step,
        "ApproveAgentStep": {"digest": shown["step"]["digest"]},
        "CreateAgentPlan": {"goal": "x"},
    }
    clients = {role: tokens.client(f"Bearer {tokens.issue(role)['text']}") for role in GRANTS}
    refused = set()
    for method in catalog.methods():
        for binding in method.bindings if method.service == FACADE else ():
            path = path_of(method, binding).replace("run-none/steps/run-none", f"{run}/steps/1")
            path = path.replace("run-none", run)
            role = required_role(Rpc(method.path, False, False))
            for client in (client for held, client in clients.items() if role not in GRANTS[held]):
                answer = client.request(binding.verb, path, json=bodies.get(method.name, {}))
                assert (answer.status_code, answer.json().get("reason")) == (403, "PERMISSION_DENIED"), (
                    answer.text
                )
                refused.add(method.name)
    assert refused == {method.name for method in catalog.methods() if method.service == FACADE} - FOR_VIEWERS
    assert gateway.get(f"/v1/agent-runs/{run}")["steps"][0]["status"] == "awaiting_approval"


def test_an_expired_and_a_revoked_token(tokens: Tokens) -> None:
    short = tokens.client(f"Bearer {tokens.issue('admin', lifetime='1s')['text']}")
    gone = tokens.issue("admin")
    tokens.gateway.post(f"/v1/tokens/{gone['token']['tokenId']}:revoke", {})
    revoked = tokens.client(f"Bearer {gone['text']}")
    for client, asked in ((short, FORMS), (revoked, FORMS[:3])):
        while client.get("/v1/whoami").status_code == 200:
            pass
        assert {form.name: end for form in asked if (end := form.end(client)) != "UNAUTHENTICATED"} == {}
