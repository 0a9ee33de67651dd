from __future__ import annotations

import pytest

from interlock.common.access.oidc.settings import from_env
from interlock.common.errors import InterlockError, Reason

MINIMUM = {"INTERLOCK_OIDC_ISSUER": "https://id.example", "INTERLOCK_OIDC_AUDIENCE": "interlock"}


def test_without_an_issuer_there_is_no_provider() -> None:
    assert from_env({}) is None


def test_everything_it_can_be_told() -> None:
    found = from_env(
        {
            **MINIMUM,
            "INTERLOCK_OIDC_AUDIENCE": "interlock, api://x",
            "INTERLOCK_OIDC_CLIENTS": "cli",
            "INTERLOCK_OIDC_SUBJECT_CLAIM": "email",
            "INTERLOCK_OIDC_GROUPS_CLAIM": "roles",
            "INTERLOCK_OIDC_ROLES": "*=viewer, dev=operator,dev=approver,a=b=admin",
            "INTERLOCK_OIDC_SCOPES": "web:team=web,web:stage=dev,urn:x:team=y",
            "INTERLOCK_OIDC_LEEWAY_SECONDS": "5",
            "INTERLOCK_OIDC_OWNER_CLAIM": "owner",
            "INTERLOCK_OIDC_APPROVER_GROUPS": "leads=/Team Leads, sec=a=b",
            "INTERLOCK_OIDC_OWNERS": "agent-7=alice, auth0|9=alice",
        }
    )
    assert found is not None
    assert found.audiences == ("interlock", "api://x")
    assert (found.clients, found.subject, found.groups, found.leeway) == (("cli",), "email", "roles", 5.0)
    assert (found.owner, found.owners) == ("owner", {"agent-7": "alice", "auth0|9": "alice"})
    assert found.approvers == {"leads": "/Team Leads", "sec": "a=b"}
    assert found.roles == {"*": {"viewer"}, "dev": {"operator", "approver"}, "a=b": {"admin"}}
    assert found.scopes == {"web": {"team": "web", "stage": "dev"}, "urn:x": {"team": "y"}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INTERLOCK_OIDC_APPROVER_GROUPS", "leads"),
        ("INTERLOCK_OIDC_APPROVER_GROUPS", "a b=/x"),
        ("INTERLOCK_OIDC_APPROVER_GROUPS", "leads=/x,leads=/y"),
        ("INTERLOCK_OIDC_OWNERS", "agent-7"),
        ("INTERLOCK_OIDC_OWNERS", "agent-7=planner"),
        ("INTERLOCK_OIDC_OWNERS", "agent-7=alice,agent-7=bob"),
        ("INTERLOCK_OIDC_ISSUER", "id.example"),
        ("INTERLOCK_OIDC_ISSUER", "http://id.example"),
        ("INTERLOCK_OIDC_ISSUER", "http://127.0.0.1.example"),
        ("INTERLOCK_OIDC_ISSUER", "file:///etc/passwd"),
        ("INTERLOCK_OIDC_ISSUER", "https://user:pw@id.example"),
        ("INTERLOCK_OIDC_ISSUER", "https://id.example:port"),
        ("INTERLOCK_OIDC_ISSUER", "https://id.example/" + "a" * 300),
        ("INTERLOCK_OIDC_ISSUER", "https://id.example/ä"),
        ("INTERLOCK_OIDC_AUDIENCE", ""),
        ("INTERLOCK_OIDC_ROLES", "dev"),
        ("INTERLOCK_OIDC_ROLES", "dev=service"),
        ("INTERLOCK_OIDC_ROLES", "=viewer"),
        ("INTERLOCK_OIDC_SCOPES", "team=web"),
        ("INTERLOCK_OIDC_SCOPES", "web:team="),
        ("INTERLOCK_OIDC_SCOPES", "web:team=a,web:team=b"),
        ("INTERLOCK_OIDC_LEEWAY_SECONDS", "301"),
    ],
)
def test_what_is_refused_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(InterlockError) as caught:
        from_env({**MINIMUM, name: value})
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, name)
    assert ":pw@" not in str(caught.value)


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:9400", "http://localhost/realms/x", "http://[::1]:1"])
def test_loopback_needs_no_tls(issuer: str) -> None:
    assert from_env({**MINIMUM, "INTERLOCK_OIDC_ISSUER": issuer})
