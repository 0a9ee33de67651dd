from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from interlock.executor.sandbox.output import Capture


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(1, 60))
def test_head_tail_digest_and_total(chunks: list[bytes], keep: int) -> None:
    capture = Capture(keep)
    for chunk in chunks:
        capture.feed(chunk)
    whole, result = b"".join(chunks), capture.result()
    assert (result.total, result.digest) == (len(whole), "sha256:" + hashlib.sha256(whole).hexdigest())
    assert whole.startswith(result.head)
    assert whole.endswith(result.tail)
    assert len(result.head) + len(result.tail) == min(len(whole), keep)
    assert result.omitted == max(0, len(whole) - keep)
    if len(whole) <= keep:
        assert result.head + result.tail == whole
