"""Problems, hosts, turns, deadlines, credentials, configuration."""

from __future__ import annotations

import pytest

from interlock.common.addresses import Address
from interlock.common.errors import InterlockError, Reason, Violation
from interlock.gateway import forwarding, problems
from interlock.gateway.api import catalog
from interlock.gateway.api.routes import table
from interlock.gateway.config import load
from interlock.gateway.http.guard import Hosts, Turns
from interlock.gateway.problems import HttpError

GOOGLES = {
    Reason.INVALID_ARGUMENT: 400, Reason.RUN_WRONG_STATE: 400, Reason.CURSOR_EXPIRED: 400, Reason.UNAUTHENTICATED: 401,
    Reason.PERMISSION_DENIED: 403, Reason.RUN_NOT_FOUND: 404, Reason.WORKSPACE_EXISTS: 409, Reason.RUN_CONFLICT: 409,
    Reason.MESSAGE_TOO_LARGE: 413, Reason.RESOURCE_EXHAUSTED: 429, Reason.INTERNAL: 500, Reason.EFFECT_TAMPERED: 500,
    Reason.UNAVAILABLE: 503, Reason.DEADLINE_EXCEEDED: 504,
}  # fmt: skip


@pytest.mark.parametrize(("reason", "status"), GOOGLES.items())
def test_a_reasons_status(reason: Reason, status: int) -> None:
    assert problems.status_of(InterlockError(reason, "x")) == status


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_a_problem(reason: Reason) -> None:
    found = problems.problem(InterlockError(reason, "It broke.", field="f", metadata={"a": "b"}), "req-1")
    assert found["type"] == f"urn:interlock:error:{reason.value}"
    assert 400 <= found["status"] < 600
    assert found["title"]
    assert found["fix"]
    said = (found["detail"], found["reason"], found["field"], found["metadata"], found["request_id"])
    assert said == ("It broke.", reason.value, "f", {"a": "b"}, "req-1")


def test_a_problem_names_the_services_request_and_every_violation() -> None:
    error = InterlockError(
        Reason.VALIDATION_FAILED,
        "No.",
        metadata={"request_id": "theirs"},
        violations=[Violation("goal", "empty")],
    )
    found = problems.problem(error, "ours")
    assert found["request_id"] == "theirs"
    assert found["violations"] == [{"field": "goal", "description": "empty"}]
    assert "metadata" not in found


def test_headers_that_belong_to_a_problem() -> None:
    assert problems.headers(InterlockError(Reason.UNAUTHENTICATED, "x"))["www-authenticate"].startswith(
        "Bearer"
    )
    assert problems.headers(InterlockError(Reason.UNAVAILABLE, "x", retry_after=2.1)) == {"retry-after": "3"}
    assert problems.headers(HttpError(405, "x", headers={"allow": "GET"})) == {"allow": "GET"}
    assert problems.problem(HttpError(404, "x"))["type"] == "about:blank"


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8002", "127.0.0.1:1", "[::1]:8002", "LOCALHOST", "localhost.", "own:1", "more"],
)
def test_known_hosts(host: str) -> None:
    Hosts(Address("own", 8002), ["more"]).check(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[::2]", "0.0.0.0"),
        *(
            "127.0.0.1:80@evil.example",
            "localhost@evil.example",
            "[::1]evil.example",
            "localhost:x",
            "localhost/a",
        ),
    ],
)
def test_strange_hosts(host: str) -> None:
    with pytest.raises(HttpError) as caught:
        Hosts(Address("0.0.0.0", 8002)).check(host)
    assert caught.value.status == 421
    Hosts(Address("0.0.0.0", 8002), ["*"]).check(host)


def test_turns_are_bounded_and_given_back() -> None:
    turns = Turns(1)
    with turns.take(), pytest.raises(InterlockError) as caught, turns.take():
        pass
    assert caught.value.reason is Reason.RESOURCE_EXHAUSTED
    with pytest.raises(KeyError), turns.take():
        raise KeyError
    assert turns.taken == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 60), ("5S", 5), ("2M", 120), ("1H", 900), ("500m", 0.5), ("0S", 0), ("99999999S", 900)],
)
def test_deadlines(text: str, seconds: float) -> None:
    assert forwarding.deadline({"grpc-timeout": text}, 60, 900) == seconds


@pytest.mark.parametrize("text", ["5", "S", "-1S", "1.5S", "123456789S", "1s", "1 S"])
def test_what_is_no_deadline(text: str) -> None:
    with pytest.raises(InterlockError, match="timeout"):
        forwarding.deadline({"grpc-timeout": text}, 60, 900)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer a\nb", "Bearer ü", "  "])
def test_a_call_without_a_credential_is_refused_before_it_is_made(header: str) -> None:
    with pytest.raises(InterlockError) as caught:
        forwarding.metadata({"authorization": header}, "req-1")
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert "ü" not in caught.value.message


def test_a_credential_is_sent_on_as_it_is() -> None:
    assert forwarding.metadata({"authorization": "Bearer abc"}, "req-1") == (
        ("authorization", "Bearer abc"),
        ("x-request-id", "req-1"),
    )
    assert forwarding.request_id({"x-request-id": "mine-1"}) == "mine-1"
    assert forwarding.request_id({"x-request-id": "a b"}) == ""


def test_configuration() -> None:
    usual = load({"INTERLOCK_DATA_DIR": "/x"})
    assert (str(usual.address), usual.origins, usual.hosts) == ("127.0.0.1:8002", (), ())
    assert {name: str(each) for name, each in usual.backends.items()}["approval"] == "127.0.0.1:7404"
    chosen = load({
        "INTERLOCK_GATEWAY_ADDRESS": "0.0.0.0:1", "INTERLOCK_GATEWAY_HOSTS": "A.example",
        "INTERLOCK_GATEWAY_ORIGINS": "https://b.example", "INTERLOCK_GATEWAY_MAX_TIMEOUT_SECONDS": "5",
    })  # fmt: skip
    assert (chosen.hosts, chosen.origins) == (("a.example",), ("https://b.example",))
    assert chosen.limits.call_seconds == chosen.limits.longest_call_seconds == 5
    for bad in ({"INTERLOCK_GATEWAY_ORIGINS": "*"}, {"INTERLOCK_GATEWAY_WRITE_SECONDS": "no"}):
        with pytest.raises(InterlockError) as caught:
            load(bad)
        assert caught.value.field in bad


def test_every_proto_service_has_a_process() -> None:
    assert {method.service for method in catalog.methods()} == set(catalog.SERVED_BY)


def test_no_two_rpcs_share_a_route() -> None:
    table(catalog.methods())
