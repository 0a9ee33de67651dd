"""No caller has more than its share; who asks for others has none of its own."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from interlock.approval.shares import Shares, share_of
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity


def test_a_caller_has_its_share_and_the_others_theirs() -> None:
    shares = Shares(2, "subscriptions")
    with ExitStack() as ada:
        ada.enter_context(shares.one("ada"))
        ada.enter_context(shares.one("ada"))
        with pytest.raises(InterlockError) as caught, shares.one("ada"):
            pass
        assert caught.value.reason is Reason.RESOURCE_EXHAUSTED
        assert caught.value.metadata["limit"] == "2"
        with shares.one("bob"):
            pass
    with shares.one("ada"), shares.one("ada"):
        pass


def test_a_failure_gives_it_back() -> None:
    shares = Shares(1, "subscriptions")
    for _ in range(3):
        with pytest.raises(ValueError, match="x"), shares.one("ada"):
            raise ValueError("x")


@pytest.mark.parametrize(("authentication", "share"), [("shared", ""), ("issued", "ada"), ("oidc", "ada")])
def test_the_installations_own_services_are_not_counted(authentication: str, share: str) -> None:
    found = share_of(Identity("ada", authentication=authentication))
    assert found == share
    shares = Shares(1, "subscriptions")
    with shares.one(found), ExitStack() as second:
        if not share:
            second.enter_context(shares.one(found))
