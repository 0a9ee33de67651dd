"""Why a provider's token is refused: said so that its holder knows what to do, never with a part of the token."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason

_AGAIN = "Get a new token from the provider."
_CONFIGURED = "Ask whoever set INTERLOCK_OIDC_* up; docs/access.md says what is checked."


def refused(why: str, message: str, fix: str = _AGAIN) -> InterlockError:
    """UNAUTHENTICATED with `why` in its metadata."""
    return InterlockError(Reason.UNAUTHENTICATED, message, fix=fix, metadata={"why": why})


def malformed() -> InterlockError:
    """It is no token at all."""
    return refused("malformed", "The call's token is not a signed token that can be read.")


def algorithm() -> InterlockError:
    """Unsigned, signed by a secret, or in a way that nobody checks here."""
    return refused(
        "algorithm",
        "The call's token is not signed in a way that is accepted: asymmetric signatures only.",
        _CONFIGURED,
    )


def unknown_key() -> InterlockError:
    """The provider publishes no such key, or did not a moment ago."""
    return refused("unknown_key", "The call's token is signed by a key that its provider does not publish.")


def signature() -> InterlockError:
    """The key did not sign this."""
    return refused("signature", "The signature of the call's token is wrong.")


def wrong_issuer() -> InterlockError:
    """Another provider's."""
    return refused(
        "issuer", "The call's token is of another provider than the one that is accepted here.", _CONFIGURED
    )


def wrong_audience() -> InterlockError:
    """Made for somebody else."""
    return refused("audience", "The call's token is meant for another service.", _CONFIGURED)


def wrong_client() -> InterlockError:
    """Obtained by a client that is not trusted with it."""
    return refused("client", "The call's token was given to a client that is not accepted here.", _CONFIGURED)


def expired() -> InterlockError:
    """Its time is over."""
    return refused("expired", "The call's token has expired.")


def too_early() -> InterlockError:
    """Its time has not come, or its clock is ahead of ours."""
    return refused(
        "not_yet", "The call's token is not valid yet.", "Compare this machine's clock with the provider's."
    )


def claim(name: str, what: str) -> InterlockError:
    """A claim that is needed is not there, or not as it has to be."""
    return refused("claim", f"The claim {name[:80]!r} of the call's token {what}.", _CONFIGURED)


def unreachable(issuer: str) -> InterlockError:
    """Nobody can tell now: the provider's keys are not known."""
    return InterlockError(
        Reason.UNAVAILABLE,
        f"The keys of the provider {issuer} cannot be fetched now, so its tokens cannot be checked.",
        fix="Try again when the provider is reached; issued tokens and the shared one work meanwhile.",
    )
