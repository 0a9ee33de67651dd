"""An OpenID provider for tests: keys and signed tokens in memory, or a real provider's process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from joserfc import jwk, jws

from interlock.common.errors import InterlockError, Reason

ISSUER = "https://id.example"
AUDIENCE = "interlock"


def new_key(kid: str | None = "one", kind: str = "RSA", **more: str) -> Any:
    """A private key; `more` are members of its JWK such as `alg` and `use`."""
    parameters: Any = {**({"kid": kid} if kid else {}), **more}
    if kind == "RSA":
        return jwk.RSAKey.generate_key(2048, parameters)
    cls: Any = jwk.OKPKey if kind == "Ed25519" else jwk.ECKey
    return cls.generate_key(kind, parameters)


@dataclass
class Published:
    """What a provider publishes: counts the questions, and may be away."""

    keys: list[Any] = field(default_factory=list)
    asked: int = 0
    away: bool = False

    async def __call__(self) -> list[Any]:
        self.asked += 1
        if self.away:
            raise InterlockError(Reason.UNAVAILABLE, "away")
        return [key.as_dict(private=False) for key in self.keys]


def signed(
    key: Any, claims: Mapping[str, Any], alg: str = "RS256", header: Mapping[str, Any] | None = None
) -> str:
    """A token with these claims."""
    kid = {"kid": key.kid} if key.kid else {}
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    head = {"alg": alg, **kid, **(header or {})}
    return jws.serialize_compact(head, json.dumps(claims), key, algorithms=[alg], registry=registry)


class Provider:
    """`oidc-provider-mock` as a process. Each start has a new key, which is how it changes keys."""

    def __init__(self, port: int, *options: str) -> None:
        self.port = port
        self.issuer = f"http://127.0.0.1:{port}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it; returns when it answers."""
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(self.port)),
                *self._options,
                *options,
            ],
            env={**os.environ, "PYTHONPATH": ""},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ends = time.monotonic() + 60
        with httpx.Client() as client:
            while True:
                assert self._process.poll() is None
                assert time.monotonic() < ends
                with contextlib.suppress(httpx.TransportError):
                    client.get(f"{self.issuer}/jwks")
                    return
                time.sleep(0.05)

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def is_up(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    def consent(self, url: str, subject: str) -> str:
        """Where a browser is sent once this person has agreed at the authorization page."""
        with httpx.Client() as client:
            return str(client.post(url, data={"sub": subject}).headers["location"])

    def token(self, subject: str, audience: str = AUDIENCE) -> str:
        """An ID token, got as a browser and its client would."""
        back = "http://127.0.0.1:1/back"
        query = {"client_id": audience, "redirect_uri": back, "response_type": "code"}
        query["scope"] = "openid profile email"
        went = self.consent(f"{self.issuer}/oauth2/authorize?{urlencode(query)}", subject)
        code = parse_qs(urlsplit(went).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        with httpx.Client() as client:
            got = client.post(f"{self.issuer}/oauth2/token", data=form, auth=(audience, "any"))
        return str(got.json()["id_token"])


@contextlib.contextmanager
def provider(*people: Mapping[str, Any], start: bool = True) -> Iterator[Provider]:
    """A started provider on a port that is its own, which knows these people (`sub` and claims)."""
    known = [part for person in people for part in ("--user-claims", json.dumps(person))]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        made = Provider(probe.getsockname()[1], *known)
    try:
        if start:
            made.start()
        yield made
    finally:
        made.stop()
