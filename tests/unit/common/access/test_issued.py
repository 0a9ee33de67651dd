from __future__ import annotations

from datetime import timedelta

import pytest

from interlock.common.access import issued
from interlock.common.access.issued import IssuedTokens, digest, new_text
from interlock.common.clock import ManualClock
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity

TOKEN_ID = "tok-" + "0" * 26


class Registry:
    """Whose tokens are, in memory; counts the questions."""

    def __init__(self) -> None:
        self.known: dict[bytes, Identity] = {}
        self.asked = 0
        self.away = False

    def issue(self, identity: Identity) -> str:
        text = new_text(TOKEN_ID)
        self.known[digest(text)] = identity
        return text

    async def lookup(self, token_id: str, key: bytes) -> Identity | None:
        self.asked += 1
        if self.away:
            raise InterlockError(Reason.UNAVAILABLE, "away")
        assert token_id == TOKEN_ID
        return self.known.get(key)


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


async def refused(tokens: IssuedTokens, text: str) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        await tokens.authenticate(bearer(text))
    assert text not in str(caught.value)
    return caught.value


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tokens(registry: Registry, clock: ManualClock) -> IssuedTokens:
    return IssuedTokens(registry.lookup, clock)


async def test_whose_it_is_is_asked_once_in_its_time(
    registry: Registry, tokens: IssuedTokens, clock: ManualClock
) -> None:
    ada = Identity("ada", frozenset({"approver"}))
    text = registry.issue(ada)
    assert [await tokens.authenticate(bearer(text)) for _ in range(3)] == [ada] * 3
    assert registry.asked == 1
    clock.advance(issued.TTL_SECONDS)
    await tokens.authenticate(bearer(text))
    assert registry.asked == 2


async def test_a_revoked_one_lives_no_longer_than_that(
    registry: Registry, tokens: IssuedTokens, clock: ManualClock
) -> None:
    text = registry.issue(Identity("ada"))
    await tokens.authenticate(bearer(text))
    registry.known.clear()
    clock.advance(issued.TTL_SECONDS)
    assert (await refused(tokens, text)).reason is Reason.UNAUTHENTICATED


async def test_its_end_is_kept_without_asking(
    registry: Registry, tokens: IssuedTokens, clock: ManualClock
) -> None:
    text = registry.issue(Identity("ada", expires_at=clock.now() + timedelta(seconds=1)))
    await tokens.authenticate(bearer(text))
    clock.advance(1.0)
    assert (await refused(tokens, text)).reason is Reason.UNAUTHENTICATED
    assert registry.asked == 1


@pytest.mark.parametrize(
    "text",
    [
        "ilk_",
        f"ilk_{TOKEN_ID}",
        f"ilk_{TOKEN_ID}_short",
        f"ilk_{TOKEN_ID.upper()}_{'a' * 43}",
        f"ilk_{TOKEN_ID}_{'a' * 44}",
        f"ilk_{TOKEN_ID}_{'ä' * 43}",
    ],
)
async def test_what_has_not_the_form_is_refused_without_asking(
    registry: Registry, tokens: IssuedTokens, text: str
) -> None:
    assert (await refused(tokens, text)).reason is Reason.UNAUTHENTICATED
    assert registry.asked == 0


async def test_another_secret_of_the_same_id_is_refused(registry: Registry, tokens: IssuedTokens) -> None:
    registry.issue(Identity("ada"))
    assert (await refused(tokens, new_text(TOKEN_ID))).reason is Reason.UNAUTHENTICATED


async def test_when_nobody_can_tell_it_is_not_the_tokens_fault(
    registry: Registry, tokens: IssuedTokens
) -> None:
    text = registry.issue(Identity("ada"))
    registry.away = True
    assert (await refused(tokens, text)).reason is Reason.UNAVAILABLE
    registry.away = False
    assert (await tokens.authenticate(bearer(text))).subject == "ada"


async def test_only_so_many_are_remembered(
    registry: Registry, tokens: IssuedTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issued, "_REMEMBERED", 2)
    texts = [registry.issue(Identity(name)) for name in ("a", "b", "c")]
    for text in texts:
        await tokens.authenticate(bearer(text))
    await tokens.authenticate(bearer(texts[2]))
    assert registry.asked == 3
    await tokens.authenticate(bearer(texts[0]))
    assert registry.asked == 4


def test_a_text_has_256_random_bits() -> None:
    texts = {new_text(TOKEN_ID) for _ in range(100)}
    assert len(texts) == 100
    assert all(len(text) == len(f"ilk_{TOKEN_ID}_") + 43 for text in texts)
