"""What the bot is told: by a YAML file, and by the environment where one variable is enough.

    homeserver: https://matrix.example.org       # INTERLOCK_MATRIX_HOMESERVER
    token_file: /etc/interlock/matrix.token      # INTERLOCK_MATRIX_TOKEN holds the token itself
    state: /var/lib/interlock/matrix.db          # INTERLOCK_MATRIX_STATE; default: matrix.db in the data directory
    rooms:                                       # INTERLOCK_MATRIX_ROOMS: ids or aliases, with commas
      - "!ops:example.org"
      - {room: "#payments:example.org", workspace_labels: {team: payments}}
    console: https://interlock.example.org       # INTERLOCK_MATRIX_CONSOLE: where `edit` sends people; may be left out
    people:                                      # nobody else decides
      "@ada:example.org": {subject: ada, token_file: /etc/interlock/ada.token}

A file that holds a token must not be readable by other users. Every error is INVALID_ARGUMENT with the field at fault,
or PERMISSION_DENIED for such a file; no message holds a token.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import yaml

from interlock.common.access.scope import covers
from interlock.common.config import data_dir, env_list, env_path, env_text
from interlock.common.errors import InterlockError, Reason

MOST_ROOMS = 50
MOST_PEOPLE = 1000
_MAX_FILE = 1024 * 1024
_LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})
_ROOM = re.compile(r"[!#]\S{1,254}")
_USER = re.compile(r"@[^:\s]{1,200}:\S{1,254}")
_KEYS = frozenset({"homeserver", "token", "token_file", "state", "rooms", "people", "console"})


@dataclass(frozen=True, slots=True)
class Room:
    """A room to post in, by id or alias, and the labels that an approval must have to be shown there.

    `labels` are the run's, which whoever creates it chooses: they sort. `workspace_labels` are the workspace's, which
    nobody but an admin chooses: they keep from a room what its people are not to see.
    """

    room: str
    labels: Mapping[str, str] = field(default_factory=dict)
    workspace_labels: Mapping[str, str] = field(default_factory=dict)

    def shows(self, labels: Mapping[str, str], workspace_labels: Mapping[str, str]) -> bool:
        """Whether an approval with these is for the room."""
        return self.labels.items() <= labels.items() and covers(self.workspace_labels, workspace_labels)


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a Matrix user is to Interlock, and the token that proves it."""

    user: str
    subject: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the bot needs to know."""

    homeserver: str
    token: str = field(repr=False)
    rooms: tuple[Room, ...]
    people: Mapping[str, Person]
    state: Path
    console: str = ""


def load(file: Path | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """The settings of a file (by default the one that INTERLOCK_MATRIX_CONFIG names, or none) and the environment."""
    if file is None and env_text("INTERLOCK_MATRIX_CONFIG", env=env):
        file = env_path("INTERLOCK_MATRIX_CONFIG", Path("/"), env)
    found = _read(file) if file else {}
    return Settings(
        homeserver=_url(
            "homeserver", env_text("INTERLOCK_MATRIX_HOMESERVER", env=env) or found.get("homeserver")
        ),
        token=env_text("INTERLOCK_MATRIX_TOKEN", env=env) or _token(found, "token", file),
        rooms=_rooms(list(env_list("INTERLOCK_MATRIX_ROOMS", env=env)) or found.get("rooms")),
        people=_people(found.get("people"), file),
        state=env_path("INTERLOCK_MATRIX_STATE", _state(found.get("state"), env), env),
        console=_console(env_text("INTERLOCK_MATRIX_CONSOLE", env=env) or found.get("console")),
    )


def _state(given: object, env: Mapping[str, str] | None) -> Path:
    if given is None:
        return data_dir(env) / "matrix.db"
    if not isinstance(given, str) or not Path(given).is_absolute():
        _bad("state", "must be an absolute path")
    return Path(given)


def _read(file: Path) -> dict[str, Any]:
    text = _text(file, "config")
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        _bad("config", f"{file} is not YAML" + (f": line {mark.line + 1}" if mark else ""))
    if not isinstance(found, dict):
        _bad("config", f"{file} must hold a mapping")
    if unknown := [str(key)[:40] for key in found if key not in _KEYS]:
        _bad(unknown[0], f"is not a setting; there are {', '.join(sorted(_KEYS))}")
    return found


def _text(file: Path, name: str) -> str:
    try:
        with open(file, encoding="utf-8") as opened:
            return opened.read(_MAX_FILE)
    except (OSError, UnicodeDecodeError) as error:
        _bad(name, f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}")


def _console(given: object) -> str:
    return "" if given in (None, "") else _url("console", given)


def _url(name: str, given: object) -> str:
    parts = urlsplit(given) if isinstance(given, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        _bad(name, f"must be the {name}'s address, as https://{name}.example.org")
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        _bad(name, "must be https: tokens travel with every call")
    if parts.username or parts.password or parts.query or parts.fragment:
        _bad(name, "must be an address without user, password, query or fragment")
    return str(given).rstrip("/")


def _rooms(given: object) -> tuple[Room, ...]:
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_ROOMS:
        _bad("rooms", f"must name 1 to {MOST_ROOMS} rooms")
    found = tuple(_room(each) for each in given)
    if len({each.room for each in found}) < len(found):
        _bad("rooms", "must name each room once")
    return found


def _room(given: object) -> Room:
    if isinstance(given, str):
        given = {"room": given}
    if not isinstance(given, dict) or not set(given) <= {"room", "labels", "workspace_labels"}:
        _bad("rooms", "must be ids, or mappings with room, labels and workspace_labels")
    room = given.get("room")
    if not isinstance(room, str) or not _ROOM.fullmatch(room):
        _bad("rooms", f"must be ids (!…) or aliases (#…), not {str(room)[:80]!r}")
    return Room(room, _labels(given.get("labels")), _labels(given.get("workspace_labels")))


def _labels(given: object) -> dict[str, str]:
    given = {} if given is None else given
    if not isinstance(given, dict) or not all(
        isinstance(text, str) for pair in given.items() for text in pair
    ):
        _bad("rooms", "must have texts as labels")
    return given


def _people(given: object, file: Path | None) -> dict[str, Person]:
    if not isinstance(given, dict) or not 1 <= len(given) <= MOST_PEOPLE:
        _bad("people", f"must map 1 to {MOST_PEOPLE} Matrix users to subjects: nobody else can decide")
    return {person.user: person for person in (_person(user, each, file) for user, each in given.items())}


def _person(user: object, given: object, file: Path | None) -> Person:
    if not isinstance(user, str) or not _USER.fullmatch(user):
        _bad("people", f"must be written as @name:server, not {str(user)[:80]!r}")
    if not isinstance(given, dict) or not set(given) <= {"subject", "token", "token_file"}:
        _bad(f"people.{user}", "must have subject, and token or token_file")
    subject = given.get("subject")
    if not isinstance(subject, str) or not subject:
        _bad(f"people.{user}.subject", "must be who the token's holder is to Interlock")
    return Person(user, subject, _token(given, f"people.{user}.token", file))


def _token(given: Mapping[str, Any], name: str, file: Path | None) -> str:
    """The token in a mapping, or in the file that it names."""
    token, place = given.get("token"), given.get("token_file")
    if (token is None) == (place is None):
        _bad(name, f"must be given once: as token, or as token_file{_or_variable(name)}")
    if place is not None:
        if not isinstance(place, str) or not Path(place).is_absolute():
            _bad(f"{name}_file", "must be an absolute path")
        token, file = _text(Path(place), f"{name}_file").strip(), Path(place)
    if not isinstance(token, str) or not token or not all("!" <= char <= "~" for char in token):
        _bad(name, "must be visible ASCII without spaces")
    if file is not None:
        _private(file)
    return token


def _or_variable(name: str) -> str:
    return ", or in INTERLOCK_MATRIX_TOKEN" if name == "token" else ""


def _private(file: Path) -> None:
    if stat.S_IMODE(os.stat(file).st_mode) & 0o077:
        raise InterlockError(
            Reason.PERMISSION_DENIED,
            f"{file} holds a token, and other users can read it.",
            fix=f"Run `chmod 600 {file}`.",
        )


def _bad(name: str, what: str) -> NoReturn:
    raise InterlockError(
        Reason.INVALID_ARGUMENT,
        f"{name}: {what}.",
        field=name,
        fix="See docs/bots.md for the bot's settings.",
    )
