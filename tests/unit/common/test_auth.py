from __future__ import annotations

import pytest

from interlock.common.auth import TokenAuthenticator
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import ROLES, Identity, current_identity, set_identity

MASTER = {"authorization": "Bearer master"}
OLD = {"authorization": "bearer   old"}


@pytest.fixture
def authenticator() -> TokenAuthenticator:
    return TokenAuthenticator(["master", "old"])


@pytest.mark.parametrize("metadata", [MASTER, OLD, {"authorization": "BEARER master"}])
def test_each_accepted_token_is_the_local_subject(
    authenticator: TokenAuthenticator, metadata: dict[str, str]
) -> None:
    assert authenticator.authenticate(metadata) == Identity("local", ROLES)


@pytest.mark.parametrize(
    "header",
    ["", "master", "Basic master", "Bearer", "Bearer ", "Bearer maste", "Bearer masterr", "Bearer Master"],
)
def test_anything_else_is_refused_without_repeating_it(
    authenticator: TokenAuthenticator, header: str
) -> None:
    with pytest.raises(InterlockError) as caught:
        authenticator.authenticate({"authorization": header})
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert "aste" not in str(caught.value)


def test_no_header(authenticator: TokenAuthenticator) -> None:
    with pytest.raises(InterlockError, match="no bearer token"):
        authenticator.authenticate({})


def test_only_the_master_token_speaks_for_others(authenticator: TokenAuthenticator) -> None:
    claim = {"x-interlock-subject": "ada@example.org"}
    assert authenticator.authenticate({**MASTER, **claim}).subject == "ada@example.org"
    with pytest.raises(InterlockError) as caught:
        authenticator.authenticate({**OLD, **claim})
    assert caught.value.reason is Reason.PERMISSION_DENIED


@pytest.mark.parametrize("subject", [" ", "a b", "x" * 129, "-x", "a\nb", "<b>"])
def test_claims_have_a_form(authenticator: TokenAuthenticator, subject: str) -> None:
    with pytest.raises(InterlockError) as caught:
        authenticator.authenticate({**MASTER, "x-interlock-subject": subject})
    assert caught.value.reason is Reason.INVALID_ARGUMENT


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
