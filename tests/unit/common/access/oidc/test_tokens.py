from __future__ import annotations

import asyncio
import base64
import json
import warnings
from typing import Any

import pytest
from tests.support.oidc import AUDIENCE, ISSUER, Published, new_key, signed

from interlock.common.access.oidc import keys, tokens
from interlock.common.access.oidc.settings import OidcSettings
from interlock.common.access.oidc.tokens import OidcTokens
from interlock.common.clock import ManualClock
from interlock.common.errors import InterlockError, Reason

ONE = new_key("one")
OTHER = new_key("other")
SETTINGS = OidcSettings(ISSUER, (AUDIENCE,), roles={"*": frozenset({"viewer"})})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def published() -> Published:
    return Published([ONE])


@pytest.fixture
def accepted(clock: ManualClock, published: Published) -> OidcTokens:
    return OidcTokens(SETTINGS, clock, published)


def claims(clock: ManualClock, **more: Any) -> dict[str, Any]:
    now = int(clock.now().timestamp())
    return {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 3600, **more}


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


async def why(accepted: OidcTokens, text: str) -> str:
    """Why it is refused; the refusal tells nothing of the token."""
    with pytest.raises(InterlockError) as caught:
        await accepted.authenticate(bearer(text))
    error = caught.value
    assert error.fix
    for part in text.split("."):
        assert len(part) < 8 or part not in str(error) + error.fix + str(error.metadata)
    return error.metadata["why"] if error.reason is Reason.UNAUTHENTICATED else error.reason.value


def b64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("kind", "alg"),
    [
        *(("RSA", alg) for alg in ("RS256", "RS512", "PS256")),
        ("P-256", "ES256"),
        ("P-521", "ES512"),
        ("Ed25519", "Ed25519"),
    ],
)
async def test_every_asymmetric_signature_is_checked(clock: ManualClock, kind: str, alg: str) -> None:
    key = ONE if kind == "RSA" else new_key("one", kind)
    accepted = OidcTokens(SETTINGS, clock, Published([key]))
    text = signed(key, claims(clock), alg)
    found = await accepted.authenticate(bearer(text))
    assert (found.subject, found.roles, found.authentication) == ("ada", {"viewer"}, f"oidc:{ISSUER}")
    head, body, mark = text.split(".")
    changed = b64(claims(clock, sub="root"))
    assert await why(accepted, f"{head}.{changed}.{mark}") == "signature"
    assert await why(accepted, f"{head}.{body}.{mark[:-8]}{'A' * 8}") == "signature"
    assert await why(accepted, f"{head}.{body}.") == "signature"


async def test_the_old_name_of_ed25519_is_known(clock: ManualClock) -> None:
    key = new_key("one", "Ed25519", alg="EdDSA", use="sig")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = signed(key, claims(clock), "EdDSA")
    found = await OidcTokens(SETTINGS, clock, Published([key])).authenticate(bearer(text))
    assert found.subject == "ada"


@pytest.mark.parametrize(
    "alg", ["none", "NoNe", "HS256", "HS512", "ES256K", "RSA-OAEP", "", None, 7, ["RS256"]]
)
async def test_nothing_else_is_a_signature(
    accepted: OidcTokens, published: Published, clock: ManualClock, alg: Any
) -> None:
    for mark in ("", "AAAA"):
        text = f"{b64({'alg': alg, 'kid': 'one'})}.{b64(claims(clock))}.{mark}"
        assert await why(accepted, text) in ("algorithm", "malformed")
    assert published.asked == 0


async def test_the_public_key_is_no_secret_to_sign_with(accepted: OidcTokens, clock: ManualClock) -> None:
    """RS256 turned into HS256 with the published key as its secret."""
    from joserfc import jwk

    for secret in (ONE.as_pem(private=False), json.dumps(ONE.as_dict(private=False)).encode()):
        key = jwk.OctKey.import_key(base64.b64encode(secret), {"kid": "one"})
        assert await why(accepted, signed(key, claims(clock), "HS256")) == "algorithm"


async def test_a_key_does_what_its_kind_can(clock: ManualClock) -> None:
    curve = new_key("curve", "P-256")
    accepted = OidcTokens(SETTINGS, clock, Published([ONE, curve]))
    crossed = signed(ONE, claims(clock), header={"kid": "curve"})
    assert await why(accepted, crossed) == "unknown_key"


@pytest.mark.parametrize("more", [{"use": "enc"}, {"alg": "RS512"}, {"alg": "RSA-OAEP"}])
async def test_a_key_for_something_else_signs_nothing(clock: ManualClock, more: dict[str, str]) -> None:
    class Said(Published):
        async def __call__(self) -> list[Any]:
            return [{**key, **more} for key in await super().__call__()]

    accepted = OidcTokens(SETTINGS, clock, Said([ONE]))
    assert await why(accepted, signed(ONE, claims(clock))) == "unknown_key"


async def test_the_token_does_not_bring_its_own_key(accepted: OidcTokens, clock: ManualClock) -> None:
    mine = OTHER.as_dict(private=False)
    for header in ({"jwk": mine}, {"jku": "https://evil.example/jwks"}, {"x5u": "https://evil.example"}):
        text = signed(OTHER, claims(clock), header={**header, "kid": "one"})
        assert await why(accepted, text) in ("signature", "malformed")


async def test_what_must_be_understood_and_is_not_is_refused(
    accepted: OidcTokens, clock: ManualClock
) -> None:
    header = b64({"alg": "RS256", "kid": "one", "crit": ["exp"], "exp": 1})
    assert await why(accepted, f"{header}.{b64(claims(clock))}.AAAA") == "malformed"


@pytest.mark.parametrize(
    "text",
    [
        "a.b.c",
        "..",
        "e30.e30.e30",
        f"{b64([1])}.{b64({})}.AA",
        f"{b64({'alg': 'RS256'})}.{b64([1])}.AA",
        f"{b64({'alg': 'RS256', 'kid': 7})}.{b64({'iss': ISSUER})}.AA",
        f"{b64({'alg': 'RS256', 'kid': 'k' * 300})}.{b64({'iss': ISSUER})}.AA",
        f"{b64({'alg': 'RS256'})}.{'W' * 4000}.AA",
        "A" * 20_000 + ".AA.AA",
        f"{b64({'alg': 'RS256', 'b64': False, 'crit': ['b64']})}.{b64({'iss': ISSUER})}.AA",
        f"{base64.urlsafe_b64encode(b'[' * 3000).decode()}.AA.AA",
    ],
)
async def test_what_is_no_token_is_refused_without_asking(
    accepted: OidcTokens, published: Published, text: str
) -> None:
    assert await why(accepted, text) in ("malformed", "algorithm")
    assert published.asked == 0


async def test_a_new_key_is_fetched_when_a_token_names_it(
    accepted: OidcTokens, published: Published, clock: ManualClock
) -> None:
    await accepted.authenticate(bearer(signed(ONE, claims(clock))))
    published.keys = [OTHER]
    clock.advance(keys.PAUSE_SECONDS)
    await accepted.authenticate(bearer(signed(OTHER, claims(clock))))
    assert published.asked == 2
    clock.advance(tokens.VERIFIED_SECONDS)
    assert await why(accepted, signed(ONE, claims(clock))) == "unknown_key"


@pytest.mark.parametrize("kid", [None, "one"])
async def test_a_new_key_under_the_name_of_the_old_one(clock: ManualClock, kid: str | None) -> None:
    old, new = new_key(kid), new_key(kid)
    published = Published([old])
    accepted = OidcTokens(SETTINGS, clock, published)
    await accepted.authenticate(bearer(signed(old, claims(clock))))
    published.keys = [new]
    assert await why(accepted, signed(new, claims(clock))) == "signature"
    clock.advance(keys.PAUSE_SECONDS)
    assert (await accepted.authenticate(bearer(signed(new, claims(clock))))).subject == "ada"


async def test_unknown_keys_do_not_make_a_question_each(
    accepted: OidcTokens, published: Published, clock: ManualClock
) -> None:
    texts = [signed(OTHER, claims(clock), header={"kid": f"k{n}"}) for n in range(20)]
    assert set(await asyncio.gather(*(why(accepted, text) for text in texts))) == {"unknown_key"}
    assert published.asked == 1
    clock.advance(keys.PAUSE_SECONDS)
    assert await why(accepted, texts[0]) == "unknown_key"
    assert published.asked == 2


async def test_keys_are_good_for_a_day_while_the_provider_is_away(
    accepted: OidcTokens, published: Published, clock: ManualClock
) -> None:
    await accepted.authenticate(bearer(signed(ONE, claims(clock))))
    published.away = True
    clock.advance(keys.STALE_SECONDS - 1)
    await accepted.authenticate(bearer(signed(ONE, claims(clock))))
    clock.advance(100)
    assert await why(accepted, signed(ONE, claims(clock))) == "UNAVAILABLE"
    published.away = False
    clock.advance(keys.PAUSE_SECONDS)
    await accepted.authenticate(bearer(signed(ONE, claims(clock))))


async def test_a_provider_that_is_away_at_the_start_is_asked_again(
    accepted: OidcTokens, published: Published, clock: ManualClock
) -> None:
    published.away = True
    for _ in range(3):
        assert await why(accepted, signed(ONE, claims(clock))) == "UNAVAILABLE"
    assert published.asked == 1
    published.away = False
    clock.advance(keys.PAUSE_SECONDS)
    assert (await accepted.authenticate(bearer(signed(ONE, claims(clock))))).subject == "ada"


async def test_a_token_without_kid_fits_a_single_key_only(clock: ManualClock) -> None:
    only, second = new_key(None), new_key(None)
    text = signed(only, claims(clock))
    assert await OidcTokens(SETTINGS, clock, Published([only])).authenticate(bearer(text))
    assert await why(OidcTokens(SETTINGS, clock, Published([only, second])), text) == "unknown_key"


async def test_a_remembered_token_ends_when_it_says(
    accepted: OidcTokens, published: Published, clock: ManualClock
) -> None:
    text = signed(ONE, claims(clock, exp=int(clock.now().timestamp()) + 10))
    await accepted.authenticate(bearer(text))
    clock.advance(10 + SETTINGS.leeway - 1)
    await accepted.authenticate(bearer(text))
    clock.advance(2)
    assert await why(accepted, text) == "expired"


async def test_only_so_many_are_remembered(
    accepted: OidcTokens, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_REMEMBERED", 2)
    for name in ("a", "b", "c"):
        await accepted.authenticate(bearer(signed(ONE, claims(clock, sub=name))))
    assert len(accepted._verified) == 2


def test_keys_that_cannot_check_a_signature_are_left_out() -> None:
    from joserfc import jwk

    short = {"kty": "RSA", "n": b64(0) * 20, "e": "AQAB"}
    secret = jwk.OctKey.generate_key(256).as_dict()
    published = [
        secret,
        short,
        {},
        7,
        None,
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-256"},
        ONE.as_dict(private=False),
    ]
    assert [key.kid for key in keys.usable(published)] == ["one"]
