"""Tokens: issued once, kept as hashes, revoked for good, and refusals on record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
from tests.integration.access.conftest import Services
from tests.support.approvals import approval_server
from tests.support.orchestrator import NOWHERE, TOKEN

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import access_pb2 as pb
from interlock.v1 import approval_pb2, approval_pb2_grpc, orchestrator_pb2, orchestrator_pb2_grpc
from interlock.v1.role_pb2 import Role


def plain(database_url: str) -> str:
    """The URL as psycopg itself takes it."""
    return database_url.replace("+psycopg", "")


async def reason_of(call: Awaitable[Any]) -> Reason:
    with pytest.raises(InterlockError) as caught, rpc_errors():
        await call
    return caught.value.reason


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(30):
        while not (found := await condition()):  # noqa: ASYNC110 (another process writes it)
            await asyncio.sleep(0.05)
        return found


async def test_what_is_kept_of_a_token_does_not_give_it_away(services: Services, database_url: str) -> None:
    issued = await services.issue("approver", scope={"team": "core"}, note="for the bot")
    secret = issued.text.split("_", 2)[2]  # which may have more of them
    async with await psycopg.AsyncConnection.connect(plain(database_url)) as connection:
        cursor = await connection.execute("SELECT access_tokens::text FROM access_tokens")
        ((row,),) = await cursor.fetchall()
    assert secret not in row
    assert issued.text not in row
    (listed,) = (await (await services.access()).ListTokens(pb.ListTokensRequest())).tokens
    assert listed == issued.token
    assert (listed.subject, listed.created_by, dict(listed.scope)) == ("ada", "local", {"team": "core"})
    assert 89 < (listed.expires_at.seconds - listed.created_at.seconds) / 86_400 <= 90


async def test_who_am_i(services: Services) -> None:
    issued = await services.issue("approver", "operator", subject="ada@example.org", scope={"team": "core"})
    me = (await (await services.access(issued.text)).WhoAmI(pb.WhoAmIRequest())).caller
    assert me.subject == "ada@example.org"
    assert list(me.roles) == [Role.ROLE_OPERATOR, Role.ROLE_APPROVER]
    assert me.authentication == f"token:{issued.token.token_id}"
    assert dict(me.scope) == {"team": "core"}
    assert me.expires_at == issued.token.expires_at


async def test_a_repeated_request_issues_no_second_token(services: Services) -> None:
    first = await services.issue("viewer", request_id="once")
    with pytest.raises(InterlockError) as caught, rpc_errors():
        await services.issue("viewer", request_id="once")
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    assert caught.value.metadata["token_id"] == first.token.token_id
    assert len((await (await services.access()).ListTokens(pb.ListTokensRequest())).tokens) == 1


@pytest.mark.parametrize(
    "request_",
    [
        pb.CreateTokenRequest(subject="ada"),
        pb.CreateTokenRequest(subject="ada", roles=[Role.ROLE_SERVICE]),
        pb.CreateTokenRequest(subject="a b", roles=[Role.ROLE_VIEWER]),
        pb.CreateTokenRequest(subject="", roles=[Role.ROLE_VIEWER]),
        pb.CreateTokenRequest(subject="ada", roles=[Role.ROLE_ADMIN], scope={"team": "core"}),
    ],
    ids=["no role", "service", "subject", "no subject", "admin with scope"],
)
async def test_what_cannot_be_issued(services: Services, request_: pb.CreateTokenRequest) -> None:
    reason = await reason_of((await services.access()).CreateToken(request_))
    assert reason in (Reason.VALIDATION_FAILED, Reason.INVALID_ARGUMENT)


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("subject", {"subject": "Planner"}),
        ("subject", {"subject": "group:leads"}),
        ("subject", {"subject": "Agent-7"}),
        ("subject", {"subject": "ALICE"}),
        ("owner", {"subject": "agent-9", "owner": "Alice"}),
        ("owner", {"subject": "agent-9", "owner": "planner"}),
        ("owner", {"subject": "agent-9", "owner": "AGENT-9"}),
        ("owner", {"subject": "agent-7"}),
        ("owner", {"subject": "agent-7", "owner": "bob"}),
        ("owner", {"subject": "agent-9", "owner": "agent-7"}),
        ("owner", {"subject": "alice", "owner": "bob"}),
    ],
)
async def test_names_and_owners_that_would_not_be_clear(
    services: Services, field: str, names: dict[str, str]
) -> None:
    first = await services.issue("operator", subject="agent-7", owner="alice")
    with pytest.raises(InterlockError) as caught, rpc_errors():
        await services.issue("operator", **names)
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, field)
    again = await services.issue("viewer", subject="agent-7", owner="alice")
    me = (await (await services.access(again.text)).WhoAmI(pb.WhoAmIRequest())).caller
    assert (me.subject, me.owner) == ("agent-7", "alice")
    for token in (first, again):
        await (await services.access()).RevokeToken(pb.RevokeTokenRequest(token_id=token.token.token_id))
    if not names["subject"].lower().startswith(("planner", "group:")):
        await services.issue("operator", subject="Agent-7", owner="bob")  # nobody has the name any more


async def test_of_names_at_once_that_would_not_be_clear_one_is_given(services: Services) -> None:
    names = ["Agent-7", "agent-7", "AGENT-7", "agent-7"] * 3

    refused: set[tuple[Reason, str]] = set()

    async def issue(name: str) -> str:
        try:
            with rpc_errors():
                return (await services.issue("viewer", subject=name)).token.subject
        except InterlockError as error:
            refused.add((error.reason, error.field))
            return ""

    given = [name for name in await asyncio.gather(*map(issue, names)) if name]
    assert given == [given[0]] * names.count(given[0])
    assert refused == {(Reason.INVALID_ARGUMENT, "subject")}


async def test_revoking_is_for_good_and_the_first_one_counts(services: Services) -> None:
    issued = await services.issue("viewer")
    admin = await services.issue("admin", subject="root@example.org")
    request = pb.RevokeTokenRequest(token_id=issued.token.token_id)
    revoked = (await (await services.access(admin.text)).RevokeToken(request)).token
    again = (await (await services.access()).RevokeToken(request)).token
    assert again == revoked
    assert revoked.revoked_by == "root@example.org"
    unknown = pb.RevokeTokenRequest(token_id="tok-" + "0" * 26)
    assert await reason_of((await services.access()).RevokeToken(unknown)) is Reason.TOKEN_NOT_FOUND
    working = (await (await services.access()).ListTokens(pb.ListTokensRequest())).tokens
    assert [each.token_id for each in working] == [admin.token.token_id]
    everything = (await (await services.access()).ListTokens(pb.ListTokensRequest(all=True))).tokens
    assert len(everything) == 2


async def test_pages_of_tokens(services: Services) -> None:
    made = [(await services.issue("viewer")).token.token_id for _ in range(5)]
    access, found, token = await services.access(), [], ""
    while True:
        page = await access.ListTokens(pb.ListTokensRequest(page_size=2, page_token=token))
        found += [each.token_id for each in page.tokens]
        token = page.next_page_token
        if not token:
            break
    assert found == made[::-1]


async def test_an_open_stream_ends_with_its_token(services: Services) -> None:
    issued = await services.issue("viewer")
    stub = approval_pb2_grpc.ApprovalStub(await services.channel("Approval", issued.text))
    call = stub.Subscribe(approval_pb2.SubscribeRequest())
    await anext(call.__aiter__())
    await (await services.access()).RevokeToken(pb.RevokeTokenRequest(token_id=issued.token.token_id))

    async def read() -> None:
        async for _ in call:
            pass

    async with asyncio.timeout(60):
        assert await reason_of(read()) is Reason.UNAUTHENTICATED


async def test_refusals_of_known_callers_are_on_record(services: Services, database_url: str) -> None:
    issued = await services.issue("viewer", subject="eve")
    stub: Any = approval_pb2_grpc.ApprovalStub(await services.channel("Approval", issued.text))
    decide = approval_pb2.DecideRequest(approval_id="apr-1")
    assert await reason_of(stub.Decide(decide)) is Reason.PERMISSION_DENIED
    runs: Any = orchestrator_pb2_grpc.OrchestratorStub(await services.channel("Orchestrator", issued.text))
    pause = orchestrator_pb2.PauseRunRequest(run_id="run-1")
    for _ in range(3):
        assert await reason_of(runs.PauseRun(pause)) is Reason.PERMISSION_DENIED
    access = await services.access()

    async def both() -> dict[str, str]:
        found = (await access.ListDenials(pb.ListDenialsRequest(subject="eve"))).denials
        return {each.rpc: each.resource for each in found if each.authentication.startswith("token:tok-")}

    async def complete() -> bool:
        return len(await both()) == 2

    await until(complete)
    assert await both() == {
        "interlock.v1.Approval/Decide": "apr-1",
        "interlock.v1.Orchestrator/PauseRun": "run-1",
    }
    async with await psycopg.AsyncConnection.connect(plain(database_url)) as connection:
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            await connection.execute("DELETE FROM access_denials")


async def test_without_the_orchestrator_issued_tokens_cannot_be_told(services: Services) -> None:
    issued = await services.issue("viewer")
    # This one has never heard of the token, and those whom it would ask are not there.
    at = await services.stack.enter_async_context(approval_server(NOWHERE, TOKEN))
    services.at["Approval"] = at
    stub: Any = approval_pb2_grpc.ApprovalStub(await services.channel("Approval", issued.text))
    reason = await reason_of(stub.GetApproval(approval_pb2.GetApprovalRequest(approval_id="apr-1")))
    assert reason is Reason.UNAVAILABLE
