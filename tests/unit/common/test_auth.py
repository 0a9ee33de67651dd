from __future__ import annotations

import pytest

from interlock.common.auth import TokenAuthenticator, on_behalf_of
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import PEOPLE_ROLES, ROLES, Identity, current_identity, set_identity

MASTER = {"authorization": "Bearer master"}
OLD = {"authorization": "bearer   old"}


@pytest.fixture
def authenticator() -> TokenAuthenticator:
    return TokenAuthenticator(["master", "old"])


@pytest.mark.parametrize("metadata", [MASTER, OLD, {"authorization": "BEARER master"}])
async def test_each_accepted_token_is_the_local_subject(
    authenticator: TokenAuthenticator, metadata: dict[str, str]
) -> None:
    assert await authenticator.authenticate(metadata) == Identity("local", ROLES)


@pytest.mark.parametrize(
    "header",
    ["", "master", "Basic master", "Bearer", "Bearer ", "Bearer maste", "Bearer masterr", "Bearer Master"],
)
async def test_anything_else_is_refused_without_repeating_it(
    authenticator: TokenAuthenticator, header: str
) -> None:
    with pytest.raises(InterlockError) as caught:
        await authenticator.authenticate({"authorization": header})
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert "aste" not in str(caught.value)


async def test_no_header(authenticator: TokenAuthenticator) -> None:
    with pytest.raises(InterlockError, match="no bearer token"):
        await authenticator.authenticate({})


async def test_only_the_master_token_speaks_for_others(authenticator: TokenAuthenticator) -> None:
    claim = {"x-interlock-subject": "ada@example.org"}
    assert (await authenticator.authenticate({**MASTER, **claim})).subject == "ada@example.org"
    with pytest.raises(InterlockError) as caught:
        await authenticator.authenticate({**OLD, **claim})
    assert caught.value.reason is Reason.PERMISSION_DENIED


@pytest.mark.parametrize("subject", [" ", "a b", "x" * 129, "-x", "a\nb", "<b>"])
async def test_claims_have_a_form(authenticator: TokenAuthenticator, subject: str) -> None:
    with pytest.raises(InterlockError) as caught:
        await authenticator.authenticate({**MASTER, "x-interlock-subject": subject})
    assert caught.value.reason is Reason.INVALID_ARGUMENT


async def test_a_service_says_as_whom_it_calls(authenticator: TokenAuthenticator) -> None:
    caller = Identity(
        "ada",
        frozenset({"approver"}),
        {"team": "a&b=ü"},
        "token:tok-1",
        owner="auth0|1",
        groups=frozenset({"leads", "sec"}),
    )
    assert await authenticator.authenticate({**MASTER, **dict(on_behalf_of(caller))}) == caller


async def test_a_subject_named_without_roles_is_a_person(authenticator: TokenAuthenticator) -> None:
    caller = await authenticator.authenticate({**MASTER, "x-interlock-subject": "ada"})
    assert caller.roles == PEOPLE_ROLES


@pytest.mark.parametrize(
    "claim",
    [{"x-interlock-roles": "root"}, {"x-interlock-authentication": "a b"}, {"x-interlock-roles": " "}],
)
async def test_other_claims_have_a_form_too(authenticator: TokenAuthenticator, claim: dict[str, str]) -> None:
    with pytest.raises(InterlockError) as caught:
        await authenticator.authenticate({**MASTER, "x-interlock-subject": "ada", **claim})
    assert caught.value.reason is Reason.INVALID_ARGUMENT


def test_an_issued_token_is_not_one_to_start_a_service_with() -> None:
    with pytest.raises(InterlockError, match="issued token"):
        TokenAuthenticator(["ilk_tok-1_secret"])


@pytest.mark.parametrize("tokens", [[], [""], ["a", ""]])
def test_a_server_without_a_token_does_not_start(tokens: list[str]) -> None:
    with pytest.raises(InterlockError, match="at least one"):
        TokenAuthenticator(tokens)


def test_identity_belongs_to_the_call() -> None:
    with pytest.raises(InterlockError) as caught:
        current_identity()
    assert caught.value.reason is Reason.UNAUTHENTICATED
    set_identity(Identity("ada"))
    assert current_identity().subject == "ada"
    set_identity(None)
