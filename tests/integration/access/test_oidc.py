"""A real OpenID provider's tokens on every service; the provider changes its keys, and goes away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tests.integration.access.conftest import Services
from tests.integration.access.test_every_rpc import METHODS
from tests.integration.access.test_every_rpc import end_of as reached
from tests.support.oidc import AUDIENCE, Provider, new_key, provider, signed
from tests.support.orchestrator import TOKEN, create, edit, orchestrator, pending
from tests.support.orchestrator import executor_server as executor
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.access.oidc import keys
from interlock.common.access.roles import required_role
from interlock.common.client import channel, error_from_rpc, rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.common.interceptors.base import Rpc
from interlock.v1 import access_pb2 as pb
from interlock.v1 import (
    access_pb2_grpc,
    approval_pb2,
    approval_pb2_grpc,
    decision_pb2,
    orchestrator_pb2,
)
from interlock.v1.role_pb2 import Role

PEOPLE = (
    {"sub": "ada", "groups": ["deciders"]},
    {"sub": "bob", "groups": ["builders", "web"]},
    {"sub": "eve"},
    {"sub": "many", "groups": ["deciders", *(f"group-{n}-of-somebody-with-many" for n in range(270))]},
)
SETTINGS = {
    "AUDIENCE": AUDIENCE,
    "ROLES": "*=viewer,builders=operator,deciders=approver",
    "SCOPES": "web:team=web",
    "LEEWAY_SECONDS": "0",
}


@pytest.fixture(scope="module")
def started() -> Iterator[Provider]:
    with provider(*PEOPLE) as made:
        yield made


@pytest.fixture
def settings(started: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    if not started.is_up:
        started.start()
    for name, value in {**SETTINGS, "ISSUER": started.issuer}.items():
        monkeypatch.setenv(f"INTERLOCK_OIDC_{name}", value)
    monkeypatch.setattr(keys, "PAUSE_SECONDS", 0.0)


@pytest.fixture
async def known(settings: None, services: Services) -> Services:
    """The services, started where the provider is configured."""
    return services


async def who(services: Services, token: str, **more: Any) -> pb.Caller:
    answer: pb.WhoAmIResponse = await (await services.access(token, **more)).WhoAmI(pb.WhoAmIRequest())
    return answer.caller


async def refusal(services: Services, token: str) -> InterlockError:
    error = await end_of(services, token)
    assert error is not None
    return error


async def test_people_of_the_provider(known: Services, started: Provider) -> None:
    ada = await who(known, started.token("ada"))
    assert (ada.subject, ada.authentication) == ("ada", f"oidc:{started.issuer}")
    assert set(ada.roles) == {Role.ROLE_VIEWER, Role.ROLE_APPROVER}
    assert ada.HasField("expires_at")
    bob = await who(known, started.token("bob"))
    assert (set(bob.roles), dict(bob.scope)) == ({Role.ROLE_VIEWER, Role.ROLE_OPERATOR}, {"team": "web"})
    large = started.token("many")
    assert len(large) > 10_000
    assert (await who(known, large)).subject == "many"
    claims = (("x-interlock-subject", "root"), ("x-interlock-roles", "admin"))
    assert (await who(known, started.token("eve"), metadata=claims)).subject == "eve"


async def test_on_every_port(known: Services, started: Provider) -> None:
    token = started.token("ada")
    for method in METHODS:
        wanted = required_role(Rpc(f"/{method.containing_service.full_name}/{method.name}", False, False))
        end = await reached(await known.channel(method.containing_service.name, token), method)
        if wanted in ("viewer", "approver"):
            assert end not in ("UNAUTHENTICATED", "PERMISSION_DENIED"), (method.full_name, end)
        else:
            assert end == "PERMISSION_DENIED", (method.full_name, end)


async def test_a_decision_says_by_what_proof(known: Services, started: Provider) -> None:
    stub = known.orchestrator.stub
    approval = await pending(stub, (await create(stub, edit())).run_id)
    me = approval_pb2_grpc.ApprovalStub(await known.channel("Approval", started.token("ada")))
    decision = decision_pb2.Decision(approve=decision_pb2.Approve(), digest=approval.digest)
    await me.Decide(approval_pb2.DecideRequest(approval_id=approval.approval_id, decision=decision))
    wanted = orchestrator_pb2.GetApprovalRecordRequest(approval_id=approval.approval_id)
    told = (await stub.GetApprovalRecord(wanted)).approval.decision
    assert (told.subject, told.authentication) == ("ada", f"oidc:{started.issuer}")


async def test_what_is_not_ours_is_refused_and_says_why(known: Services, started: Provider) -> None:
    other = started.token("ada", audience="another-service")
    forged = signed(new_key(), {"iss": started.issuer, "aud": AUDIENCE, "sub": "ada", "exp": 1 << 40})
    strange = signed(new_key(), {"iss": "https://evil.example", "aud": AUDIENCE, "sub": "ada"})
    for token, why in ((other, "audience"), (forged, "unknown_key"), (strange, "issuer")):
        error = await refusal(known, token)
        assert (error.reason, error.metadata["why"]) == (Reason.UNAUTHENTICATED, why)
        assert error.fix
        assert token not in str(error)


async def test_the_provider_goes_away_and_returns_with_another_key(
    known: Services, started: Provider
) -> None:
    """It is not needed for keys that are known, and tokens of ours never need it."""
    seen, unseen, late = (started.token("ada") for _ in range(3))
    assert (await who(known, seen)).subject == "ada"
    started.stop()
    try:
        for token in (seen, unseen):
            assert (await who(known, token)).subject == "ada"
        assert (await who(known, TOKEN)).subject == "local"
        assert (await refusal(known, signed(new_key(), {"iss": started.issuer}))).metadata[
            "why"
        ] == "unknown_key"
        started.start("--token-max-age", "1")
        short = started.token("ada")
        while (error := await end_of(known, short)) is None:
            pass
        # Its time is looked at after its signature: the new key is known, and the old one is not any more.
        assert error.metadata["why"] == "expired"
        assert (await refusal(known, late)).metadata["why"] == "signature"
        for method in METHODS:
            channel = await known.channel(method.containing_service.name, short)
            assert await reached(channel, method) == "UNAUTHENTICATED", method.full_name
    finally:
        started.stop()


async def test_services_start_without_the_provider(
    database_url: str, settings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_OIDC_ISSUER", "http://127.0.0.1:1")
    async with executor(ScriptedExecutor(Script())) as at, orchestrator(database_url, at) as up:
        async with channel(up.address, TOKEN) as ours:
            await access_pb2_grpc.AccessStub(ours).WhoAmI(pb.WhoAmIRequest())
        token = signed(new_key(), {"iss": "http://127.0.0.1:1", "aud": AUDIENCE, "sub": "ada"})
        async with channel(up.address, token) as theirs:
            with pytest.raises(InterlockError) as caught, rpc_errors():
                await access_pb2_grpc.AccessStub(theirs).WhoAmI(pb.WhoAmIRequest())
        assert caught.value.reason is Reason.UNAVAILABLE
        assert "127.0.0.1:1" in caught.value.message


async def end_of(services: Services, token: str) -> InterlockError | None:
    """Why it is refused; None when it is not."""
    try:
        await who(services, token)
    except grpc.aio.AioRpcError as error:
        return error_from_rpc(error)
    return None
