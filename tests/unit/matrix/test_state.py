"""What a successor of the bot knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from interlock.client import InterlockError
from interlock.matrix import state as module
from interlock.matrix.state import Message, opened

ME = "@bot:test"
POST = Message("apr-1", "!room", "run-1", 1, "sha256:00", shown="PENDING/0")


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "state.db"
    with opened(file, ME) as state:
        assert state.position("feed") == ""
        state.keep_position("feed", "one")
        state.keep_position("feed", "two")
        state.add(POST)
        state.add(replace(POST, room_id="!other"))
        state.sent(POST, "$post")
    with opened(file, ME) as state:
        assert state.position("feed") == "two"
        assert state.by_event("!room", "$post") == replace(POST, event_id="$post", shown="PENDING/0")
        assert state.by_event("!other", "$post") is None
        assert [each.event_id for each in state.about("apr-1")] == ["$post", ""]
        assert [each.room_id for each in state.open_ones()] == ["!room", "!other"]
    assert file.stat().st_mode & 0o077 == 0


def test_a_message_is_noted_once(tmp_path: Path) -> None:
    with opened(tmp_path / "s", ME) as state:
        state.add(POST)
        state.sent(POST, "$post")
        state.add(replace(POST, digest="sha256:11"))
        (found,) = state.about("apr-1")
        assert (found.event_id, found.digest) == ("$post", "sha256:00")


def test_closed_ones_are_remembered_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_CLOSED", 3)
    with opened(tmp_path / "s", ME) as state:
        state.add(POST)
        for number in range(2, 10):
            each = replace(POST, approval_id=f"apr-{number}")
            state.add(each)
            state.now_shows(each, "APPROVED/0", is_open=False)
        assert [each.approval_id for each in state.open_ones()] == ["apr-1"]  # open ones are never forgotten
        assert state.about("apr-2") == []
        assert state.about("apr-9")[0].shown == "APPROVED/0"


def test_one_bot_at_a_time(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "s", ME),
        pytest.raises(InterlockError, match="another bot"),
        opened(tmp_path / "s", ME),
    ):
        raise AssertionError("two bots")


def test_somebody_elses_file_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "s", ME):
        pass
    with pytest.raises(InterlockError, match="belongs to @bot:test"), opened(tmp_path / "s", "@other:test"):
        raise AssertionError("another account's")
    (tmp_path / "text").write_text("no database, but long enough to be looked at" * 50)
    with pytest.raises(InterlockError, match="not the bot's state"), opened(tmp_path / "text", ME):
        raise AssertionError("no database")
    (tmp_path / "file").touch()
    with pytest.raises(InterlockError, match="cannot be written"), opened(tmp_path / "file" / "s", ME):
        raise AssertionError("not a directory")
