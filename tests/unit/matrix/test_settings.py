"""What the bot is told, and what it does not accept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from interlock.client import InterlockError, Reason
from interlock.matrix.settings import Room, load

GOOD: dict[str, Any] = {
    "homeserver": "https://matrix.example.org/",
    "token": "syt_secret",
    "console": "https://interlock.example.org/",
    "state": "/var/lib/interlock/matrix.db",
    "rooms": [
        "!ops:example.org",
        {"room": "#pay:example.org", "labels": {"app": "a"}, "workspace_labels": {"team": "pay"}},
    ],
    "people": {"@ada:example.org": {"subject": "ada", "token": "ilk_secret"}},
}


def written(place: Path, mode: int = 0o600, **changes: Any) -> Path:
    file = place / "matrix.yaml"
    found = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    file.write_text(yaml.safe_dump(found))
    file.chmod(mode)
    return file


def test_a_file_says_everything(tmp_path: Path) -> None:
    found = load(written(tmp_path), {})
    assert found.homeserver == "https://matrix.example.org"
    assert found.token == "syt_secret"
    assert found.console == "https://interlock.example.org"
    assert found.rooms == (
        Room("!ops:example.org"),
        Room("#pay:example.org", {"app": "a"}, {"team": "pay"}),
    )
    ada = found.people["@ada:example.org"]
    assert (ada.subject, ada.token) == ("ada", "ilk_secret")
    assert "secret" not in repr(found)


def test_the_environment_wins(tmp_path: Path) -> None:
    environment = {
        "INTERLOCK_MATRIX_CONFIG": str(written(tmp_path, token=None)),
        "INTERLOCK_MATRIX_HOMESERVER": "http://127.0.0.1:8008",
        "INTERLOCK_MATRIX_TOKEN": "other",
        "INTERLOCK_MATRIX_ROOMS": "!one:test, #two:test",
        "INTERLOCK_MATRIX_STATE": "/tmp/state",
        "INTERLOCK_MATRIX_CONSOLE": "http://127.0.0.1:8002",
    }
    found = load(None, environment)
    assert (found.homeserver, found.token, str(found.state)) == (
        "http://127.0.0.1:8008",
        "other",
        "/tmp/state",
    )
    assert [each.room for each in found.rooms] == ["!one:test", "#two:test"]
    assert found.console == "http://127.0.0.1:8002"


def test_where_to_edit_may_be_left_out(tmp_path: Path) -> None:
    assert load(written(tmp_path, console=None), {}).console == ""


def test_tokens_in_files_of_their_own(tmp_path: Path) -> None:
    for name in ("bot", "ada"):
        (tmp_path / name).write_text(f"{name}-token\n")
        (tmp_path / name).chmod(0o600)
    people = {"@ada:example.org": {"subject": "ada", "token_file": str(tmp_path / "ada")}}
    file = written(tmp_path, 0o644, token=None, token_file=str(tmp_path / "bot"), people=people)
    found = load(file, {})
    assert (found.token, found.people["@ada:example.org"].token) == ("bot-token", "ada-token")
    (tmp_path / "ada").chmod(0o640)
    with pytest.raises(InterlockError, match="other users can read it") as refused:
        load(file, {})
    assert refused.value.reason is Reason.PERMISSION_DENIED


def test_a_file_with_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InterlockError, match="other users can read it"):
        load(written(tmp_path, 0o644), {})


ADA = "@ada:example.org"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"console": "http://interlock.example.org"}, "console"),
        ({"console": "https://interlock.example.org/#token=x"}, "console"),
        ({"console": 7}, "console"),
        ({"homeserver": None}, "homeserver"),
        ({"homeserver": "matrix.example.org"}, "homeserver"),
        ({"homeserver": "http://matrix.example.org"}, "homeserver"),
        ({"homeserver": "https://me:pw@matrix.example.org"}, "homeserver"),
        ({"token": None}, "token"),
        ({"token": "with space"}, "token"),
        ({"token_file": "/both"}, "token"),
        ({"state": "relative.db"}, "state"),
        ({"rooms": None}, "rooms"),
        ({"rooms": []}, "rooms"),
        ({"rooms": ["ops"]}, "rooms"),
        ({"rooms": ["!a:b", "!a:b"]}, "rooms"),
        ({"rooms": [{"room": "!a:b", "label": {}}]}, "rooms"),
        ({"rooms": [{"room": "!a:b", "labels": {"n": 1}}]}, "rooms"),
        ({"rooms": [{"room": "!a:b", "labels": ["n"]}]}, "rooms"),
        ({"rooms": [{"room": "!a:b", "workspace_labels": {"n": 1}}]}, "rooms"),
        ({"people": None}, "people"),
        ({"people": {"ada": {"subject": "ada", "token": "t"}}}, "people"),
        ({"people": {ADA: "ada"}}, f"people.{ADA}"),
        ({"people": {ADA: {"token": "t"}}}, f"people.{ADA}.subject"),
        ({"people": {ADA: {"subject": "ada"}}}, f"people.{ADA}.token"),
        ({"people": {ADA: {"subject": "ada", "token_file": "ada"}}}, f"people.{ADA}.token_file"),
        ({"peeple": {}}, "peeple"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InterlockError) as refused:
        load(written(tmp_path, **changes), {})
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID_ARGUMENT, field)
    assert "secret" not in str(refused.value)


def test_no_file_and_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(InterlockError, match="cannot be read"):
        load(tmp_path / "absent", {})
    (tmp_path / "bad").write_text("a: [1\nsecret: x")
    with pytest.raises(InterlockError, match="not YAML: line") as refused:
        load(tmp_path / "bad", {})
    assert "secret" not in str(refused.value)
