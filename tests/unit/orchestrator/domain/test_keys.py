from __future__ import annotations

import hashlib
import hmac
import itertools

import pytest

from interlock.orchestrator.domain.keys import SECRET_BYTES, Keys

SECRET = bytes(range(32))
VECTOR = "f1f378ff75e28fb5d102dd400b37cb4755b033cd52655cc99d5e32b78571eb6e"
"""Computed with openssl dgst -sha256 -mac HMAC over `run-1/2/3`."""


def test_keys_are_hmacs_of_what_they_are_for() -> None:
    keys = Keys(SECRET)
    assert keys.owner("run-1", 2, 3) == hmac.new(SECRET, b"run-1/2/3", hashlib.sha256).digest()
    assert keys.driver("run-1") == hmac.new(SECRET, b"run-1", hashlib.sha256).digest()
    assert keys.owner("run-1", 2, 3).hex() == VECTOR


def test_the_digest_is_of_the_key() -> None:
    keys = Keys(SECRET)
    assert (
        keys.owner_digest("run-1", 2, 3) == "sha256:" + hashlib.sha256(keys.owner("run-1", 2, 3)).hexdigest()
    )


def test_no_two_keys_are_the_same() -> None:
    made: list[bytes] = []
    for secret in (SECRET, SECRET[::-1]):
        keys = Keys(secret)
        for run, step, attempt in itertools.product(("run-1", "run-11", "run-1-1"), (1, 11), (1, 11)):
            made.append(keys.owner(run, step, attempt))
        made += [keys.driver(run) for run in ("run-1", "run-11", "run-1-1")]
    assert len(set(made)) == len(made)
    assert {len(key) for key in made} == {32}


def test_two_orchestrators_on_one_database_derive_the_same() -> None:
    assert Keys(SECRET).owner("run-1", 1, 1) == Keys(bytes(SECRET)).owner("run-1", 1, 1)


@pytest.mark.parametrize("secret", [b"", b"x" * 31, b"x" * 33])
def test_a_secret_of_another_length_is_a_defect(secret: bytes) -> None:
    with pytest.raises(ValueError, match=str(SECRET_BYTES)) as caught:
        Keys(secret)
    assert "xxx" not in str(caught.value)


def test_the_secret_is_in_no_repr() -> None:
    assert SECRET.hex() not in repr(Keys(SECRET))
    assert repr(SECRET) not in repr(Keys(SECRET))
