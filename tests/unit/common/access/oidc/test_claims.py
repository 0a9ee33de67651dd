from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from interlock.common.access.oidc.claims import identity
from interlock.common.access.oidc.settings import OidcSettings
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SECONDS = NOW.timestamp()
ISSUER = "https://id.example"
GOOD = {"iss": ISSUER, "aud": "interlock", "sub": "ada", "exp": SECONDS + 60, "iat": SECONDS}


def who(settings: dict[str, Any] | None = None, /, **claims: Any) -> Identity:
    given = {name: value for name, value in {**GOOD, **claims}.items() if value is not ...}
    return identity(given, OidcSettings(ISSUER, ("interlock", "api"), **(settings or {})), NOW)


def why(settings: dict[str, Any] | None = None, /, **claims: Any) -> str:
    with pytest.raises(InterlockError) as caught:
        who(settings, **claims)
    assert caught.value.reason is Reason.UNAUTHENTICATED
    return caught.value.metadata["why"]


def test_a_person_of_the_provider() -> None:
    found = who()
    assert found.subject == "ada"
    assert found.authentication == f"oidc:{ISSUER}"
    assert found.expires_at == datetime.fromtimestamp(SECONDS + 60, UTC)
    assert not found.roles
    assert not found.scope


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": SECONDS - 30}, "expired"),
        ({"exp": 0}, "expired"),
        ({"exp": ...}, "claim"),
        ({"exp": "soon"}, "claim"),
        ({"exp": True}, "claim"),
        ({"exp": float("nan")}, "claim"),
        ({"exp": float("inf")}, "claim"),
        ({"exp": 10**400}, "claim"),
        ({"exp": -1}, "claim"),
        ({"nbf": SECONDS + 31}, "not_yet"),
        ({"iat": SECONDS + 31}, "not_yet"),
        ({"nbf": []}, "claim"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": f"{ISSUER}/"}, "issuer"),
        ({"iss": [ISSUER]}, "issuer"),
        ({"iss": ...}, "issuer"),
        ({"aud": "another"}, "audience"),
        ({"aud": ...}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": {"interlock": 1}}, "audience"),
        ({"aud": "interlock api"}, "audience"),
        ({"sub": ...}, "claim"),
        ({"sub": ""}, "claim"),
        ({"sub": "ada\nroot"}, "claim"),
        ({"sub": "local"}, "claim"),
        ({"sub": "a" * 129}, "claim"),
        ({"sub": 7}, "claim"),
    ],
)
def test_what_is_refused(claims: dict[str, Any], reason: str) -> None:
    assert why(**claims) == reason


def test_clocks_may_differ_by_the_leeway() -> None:
    assert who(exp=SECONDS - 29).subject == "ada"
    assert who(nbf=SECONDS + 29, iat=SECONDS + 29).subject == "ada"
    assert why({"leeway": 0.0}, exp=SECONDS) == "expired"


@pytest.mark.parametrize("aud", [["interlock"], ["x", "api"], "api", ["interlock", 7]])
def test_one_audience_is_enough(aud: Any) -> None:
    assert who(aud=aud).subject == "ada"


def test_a_client_that_is_not_trusted() -> None:
    only = {"clients": ("cli",)}
    assert who(only, azp="cli").subject == "ada"
    assert who(only, client_id="cli").subject == "ada"
    assert who({"clients": ("interlock",)}).subject == "ada"
    assert why(only) == "client"
    assert why(only, azp="evil", client_id="cli") == "client"
    assert why({"clients": ("interlock",)}, aud=["interlock", "x"]) == "client"


def test_an_address_counts_when_it_is_verified() -> None:
    by_mail = {"subject": "email"}
    assert who(by_mail, email="ada@example.org", email_verified=True).subject == "ada@example.org"
    for verified in (..., False, "true", 1):
        assert why(by_mail, email="ada@example.org", email_verified=verified) == "claim"


def test_names_of_common_providers_are_subjects() -> None:
    for name in ("auth0|5f7c8ec7c33c6c004bbafe82", "google-oauth2|1", "8d1e-uuid", "ada@example.org"):
        assert who(sub=name).subject == name


ROLES = {"*": frozenset({"viewer"}), "dev": frozenset({"operator", "approver"}), "ops": frozenset({"admin"})}


def test_groups_give_roles() -> None:
    assert who({"roles": ROLES}).roles == {"viewer"}
    assert who({"roles": ROLES}, groups=["dev", "x"]).roles == {"viewer", "operator", "approver"}
    assert who({"roles": ROLES}, groups="ops").roles == {"viewer", "admin"}
    assert who({"roles": ROLES}, groups={"ops": True}).roles == {"viewer"}
    assert who({"roles": ROLES}, groups=[["ops"], 7, None]).roles == {"viewer"}
    assert not who({"roles": {"ops": frozenset({"admin"})}}, groups=["*"]).roles


def test_groups_within_another_claim() -> None:
    within = {"roles": ROLES, "groups": "realm_access.roles"}
    assert "admin" in who(within, realm_access={"roles": ["ops"]}).roles
    assert who(within, realm_access=["roles"]).roles == {"viewer"}
    named = {"roles": ROLES, "groups": "https://example.org/roles"}
    assert "admin" in who(named, **{"https://example.org/roles": ["ops"]}).roles


def test_too_many_groups() -> None:
    assert why(groups=["g"] * 1001) == "claim"


def test_groups_limit_what_may_be_touched() -> None:
    scopes = {"web": {"team": "web"}, "prod": {"stage": "prod"}, "dev": {"stage": "dev"}}
    assert who({"scopes": scopes}, groups=["web"]).scope == {"team": "web"}
    assert who({"scopes": scopes}, groups=["web", "prod"]).scope == {"team": "web", "stage": "prod"}
    assert not who({"scopes": scopes}, groups=["other"]).scope
    assert why({"scopes": scopes}, groups=["prod", "dev"]) == "claim"


def test_whose_agent_somebody_is() -> None:
    assert who().owner == ""
    assert who({"owner": "owner"}, owner="alice").owner == "alice"
    assert who({"owner": "owner"}).owner == ""
    assert who({"owners": {"ada": "alice"}}).owner == "alice"
    assert who({"owner": "owner", "owners": {"ada": "alice"}}, owner="mallory").owner == "alice"
    assert who({"owner": "owner"}, owner="Ada").owner == "", "nobody is an agent of their own"


@pytest.mark.parametrize("owner", [["alice"], 7, "a b", "planner", "group:leads"])
def test_an_owner_that_names_nobody(owner: Any) -> None:
    assert why({"owner": "owner"}, owner=owner) == "claim"


@pytest.mark.parametrize("subject", ["local", "Local", "planner", "PLANNER", "group:leads", "Provider:x"])
def test_names_that_nobody_can_have(subject: str) -> None:
    assert why(sub=subject) == "claim"


@pytest.mark.parametrize("subject", ["auth0|123", "google-oauth2|1", "ada@example.org"])
def test_subjects_as_providers_spell_them(subject: str) -> None:
    assert who(sub=subject).subject == subject


def test_groups_by_the_names_that_policies_have_for_them() -> None:
    known = {"approvers": {"leads": "/Team Leads", "sec": "/sec"}}
    assert who(known, groups=["/Team Leads", "/x"]).groups == {"leads"}
    assert who(known, groups=["leads"]).groups == frozenset(), "the provider's own names count"
    assert who(known).groups == frozenset()
