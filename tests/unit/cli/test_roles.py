"""Which roles a token can be given, and what the advice names."""

from __future__ import annotations

import pytest

from interlock.cli.values import parse_enum
from interlock.common.errors import InterlockError
from interlock.v1.role_pb2 import Role


@pytest.mark.parametrize("text", ["nope", "service", "SERVICE", "unspecified"])
def test_a_role_that_nobody_can_be_given_is_not_advised(text: str) -> None:
    with pytest.raises(InterlockError) as caught:
        parse_enum(Role, text, "role", never=("service",))
    assert caught.value.fix == "Use one of viewer, operator, approver, admin."


def test_the_others_are_known_in_any_case() -> None:
    assert parse_enum(Role, "Approver", "role", never=("service",)) == Role.ROLE_APPROVER
