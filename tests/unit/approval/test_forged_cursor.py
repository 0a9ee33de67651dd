from __future__ import annotations

import pytest
from hypothesis import given
from tests.support.forging import BODIES, forged, scalars

from interlock.approval.domain.cursor import decode
from interlock.common.errors import InterlockError, Reason


@given(BODIES)
def test_any_contents_are_read_or_refused(body: bytes) -> None:
    try:
        cursor = decode(forged(b"cursor", "Approval/Subscribe", body))
    except InterlockError as error:
        assert error.reason is Reason.CURSOR_INVALID  # noqa: PT017 (both ways are right)
    else:
        assert decode(cursor.encode()) == cursor


@pytest.mark.parametrize("position", ["", "-1", "1.5", "٣", "9" * 20, 7, None, ["1"]])
def test_a_position_is_decimal_text(position: object) -> None:
    text = forged(b"cursor", "Approval/Subscribe", scalars(u="x", p=position))
    with pytest.raises(InterlockError) as told:
        decode(text)
    assert told.value.reason is Reason.CURSOR_INVALID
