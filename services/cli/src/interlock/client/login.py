"""A person's login at an OpenID provider, as `interlock login` keeps it in the data directory: `login.json`, 0600."""

from __future__ import annotations

import json
import os
import stat
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from interlock.common.errors import InterlockError, Reason

FILE: Final = "login.json"
EARLY_SECONDS: Final = 60
"""A token that ends within this time is renewed before it is used."""

_MOST_BYTES: Final = 256 * 1024
_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Login:
    """A token, until when it works (Unix seconds), and how another one is got.

    `refresh` is empty where the provider gave no refresh token; `secret` is the client's, empty for a public one.
    """

    issuer: str
    client: str
    token: str
    expires: int
    token_endpoint: str
    refresh: str = ""
    secret: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it has to be renewed."""
        return time.time() >= self.expires - EARLY_SECONDS

    def __repr__(self) -> str:
        return f"Login({self.issuer!r}, ***)"


def read(directory: Path) -> Login | None:
    """The login that is kept; None without one. Raises PERMISSION_DENIED when other users could read it."""
    path = directory / FILE
    try:
        with open(path, "rb") as file:
            mode, raw = os.fstat(file.fileno()).st_mode, file.read(_MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InterlockError(Reason.PERMISSION_DENIED, f"Cannot read {path}: {error.strerror}.") from None
    if stat.S_IMODE(mode) & 0o077:
        raise InterlockError(
            Reason.PERMISSION_DENIED, f"Other users can read {path}.", fix=f"Run `chmod 600 {path}`."
        )
    try:
        found = json.loads(raw)
        return Login(**{each.name: found[each.name] for each in fields(Login)})
    except (ValueError, KeyError, TypeError):
        raise ended(f"The login in {path} cannot be read.") from None


def write(directory: Path, login: Login) -> None:
    """Keep a login, atomically, for its owner alone."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = directory / f".{FILE}.{os.getpid()}"
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        os.fchmod(fd, 0o600)
        json.dump(asdict(login), file)
    os.replace(partial, directory / FILE)


def remove(directory: Path) -> bool:
    """Forget the login; whether there was one."""
    path = directory / FILE
    found = path.exists()
    path.unlink(missing_ok=True)
    return found


def current(directory: Path) -> str:
    """The token to send; empty without a login. One that has ended is renewed, over the network.

    Raises UNAUTHENTICATED when it has ended and cannot be renewed, UNAVAILABLE when the provider is not reached.
    """
    login = read(directory)
    if login is None:
        return ""
    if login.is_over:
        if not login.refresh:
            raise ended("Your login has ended.")
        form = {"grant_type": "refresh_token", "refresh_token": login.refresh}
        login = exchanged(login.issuer, login.token_endpoint, login.client, login.secret, form, login.refresh)
        write(directory, login)
    return login.token


def exchanged(
    issuer: str, endpoint: str, client: str, secret: str, form: dict[str, str], refresh: str = ""
) -> Login:
    """What the token endpoint gives for a code or a refresh token (RFC 6749, 4.1.3 and 6): the ID token is kept."""
    import httpx

    sent = {**form, "client_id": client, **({"client_secret": secret} if secret else {})}
    try:
        answer = httpx.post(endpoint, data=sent, timeout=_SECONDS)
        found: Any = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        raise InterlockError(
            Reason.UNAVAILABLE, f"The provider {issuer} cannot be asked for a token."
        ) from None
    if answer.status_code != 200 or not isinstance(found, dict) or not isinstance(found.get("id_token"), str):
        said = str(found.get("error", ""))[:80] if isinstance(found, dict) else ""
        raise ended(f"The provider {issuer} gave no token: {said or answer.status_code}.")
    token = found["id_token"]
    newer = found.get("refresh_token")
    return Login(
        issuer, client, token, _expires(token), endpoint, newer if isinstance(newer, str) else refresh, secret
    )


def ended(message: str) -> InterlockError:
    """There is no login that works."""
    fix = "Run `interlock login`, or `interlock login --forget` to go without."
    return InterlockError(Reason.UNAUTHENTICATED, message, fix=fix)


def claims(token: str) -> dict[str, Any]:
    """What a token says, unverified: for its own holder, who got it from the provider itself."""
    import base64

    try:
        part = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, IndexError):
        raise ended("The provider's token cannot be read.") from None
    if not isinstance(found, dict):
        raise ended("The provider's token cannot be read.")
    return found


def _expires(token: str) -> int:
    found = claims(token).get("exp")
    return int(found) if isinstance(found, int | float) else 0
