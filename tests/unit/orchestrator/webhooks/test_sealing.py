"""Keys, and what they open."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.common.errors import InterlockError
from interlock.orchestrator.webhooks.sealing import CLEAR, VARIABLE, Ring, Unsealable, from_env, name_of

OLD, NEW = b"o" * 32, b"n" * 32
SECRET = b"what signs, 24 bytes long"


@given(st.binary(min_size=24, max_size=64))
def test_what_is_sealed_opens_and_shows_nothing(secret: bytes) -> None:
    ring = Ring([NEW])
    sealed, key = ring.seal(secret, "whk-1")
    assert ring.open(sealed, key, "whk-1") == secret
    assert secret not in sealed
    assert sealed != ring.seal(secret, "whk-1")[0]


def test_the_first_seals_and_all_open() -> None:
    sealed, key = Ring([OLD]).seal(SECRET, "whk-1")
    both = Ring([NEW, OLD])
    assert both.open(sealed, key, "whk-1") == SECRET
    assert both.seal(SECRET, "whk-1")[1] == both.newest == name_of(NEW)
    with pytest.raises(Unsealable, match=f"{name_of(OLD)}, which {VARIABLE} does not hold"):
        Ring([NEW]).open(sealed, key, "whk-1")


def test_another_endpoint_or_another_text_does_not_open() -> None:
    ring = Ring([NEW])
    sealed, key = ring.seal(SECRET, "whk-1")
    spoilt = [sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :] for n in range(len(sealed))]
    for text, about in [
        (sealed, "whk-2"),
        *((each, "whk-1") for each in (*spoilt, sealed[:-1], sealed[12:])),
    ]:
        with pytest.raises(Unsealable, match="was changed"):
            ring.open(text, key, about)


def test_without_a_key_nothing_is_sealed_and_what_is_clear_stays_readable() -> None:
    assert Ring().open(SECRET, CLEAR, "whk-1") == SECRET
    with pytest.raises(InterlockError) as caught:
        Ring().seal(SECRET, "whk-1")
    assert caught.value.field == VARIABLE


def test_the_key_of_the_data_directory_is_made_once_for_its_owner(tmp_path: Path) -> None:
    env = {"INTERLOCK_DATA_DIR": str(tmp_path)}
    first = from_env(env)
    assert first.newest == from_env(env).newest != CLEAR
    path = tmp_path / "webhook.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert name_of(base64.b64decode(path.read_text())) == first.newest
    path.chmod(0o644)
    with pytest.raises(InterlockError, match="Other users can read"):
        from_env(env)


def test_the_environment_names_several(tmp_path: Path) -> None:
    texts = [base64.b64encode(key).decode() for key in (NEW, OLD)]
    ring = from_env({"INTERLOCK_DATA_DIR": str(tmp_path), VARIABLE: ", ".join(texts)})
    assert ring.newest == name_of(NEW)
    assert ring.open(*Ring([OLD]).seal(SECRET, "a"), "a") == SECRET
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["x", "AAAA", base64.b64encode(b"k" * 31).decode(), "%%%"])
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(InterlockError) as caught:
        from_env({"INTERLOCK_DATA_DIR": str(tmp_path), VARIABLE: text})
    assert caught.value.field == VARIABLE
    assert f"'{text}'" not in str(caught.value)


def test_a_directory_that_cannot_be_written_gives_no_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert from_env({"INTERLOCK_DATA_DIR": str(tmp_path / "file")}).newest == CLEAR
