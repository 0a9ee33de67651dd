"""What the certificate of a connection adds to the token of a call.

Whoever holds the shared token can pass for a service, and for anybody. Where connections are made with certificates,
that takes a service's certificate as well: with a person's, the shared token is worth what a person may do.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace

from interlock.common.auth import SUBJECT
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity
from interlock.common.tls import TRUSTED


def confined(identity: Identity, metadata: Mapping[str, str], names: Set[str]) -> Identity:
    """The caller, as far as the names in its certificate bear it out. Raises PERMISSION_DENIED where it speaks for
    somebody else without being a service."""
    if names & TRUSTED:
        return identity
    if metadata.get(SUBJECT):
        raise InterlockError(
            Reason.PERMISSION_DENIED,
            "Only a service may speak for somebody else, and this connection's certificate is not a service's.",
            field=SUBJECT,
            fix="Call with the person's own token.",
        )
    return replace(identity, roles=identity.roles - {"service"})
