"""Several gateways from a YAML file.

    gateways:
      team:                                        # its name in journals, traces, errors and routes
        kind: openai                               # openai (any OpenAI-compatible server), router or local
        base_url: http://litellm:4000/v1
        model: team-default
        key_file: /run/secrets/litellm-key         # or key_env: INTERLOCK_MODEL_…, or key: in a file of mode 0600
        headers: {x-team: research}                # a value may be {env: …} or {file: …} as a key's
        timeout: 60                                # seconds of one question, retries and repairs included
        attempts: 3                                # HTTP attempts
        concurrency: 8
        breaker: {failures: 5, seconds: 30}
        price: {prompt: 0.15, completion: 0.60}    # US dollars for a million tokens
        max_prompt_chars: 400000                   # also max_reply_tokens, max_reply_bytes; tier (router only)
      spare: {kind: local}
    routes:                                        # by purpose; without a route, `default`; without that, all in order
      plan: [team, spare]
      default: [spare]

Every error is INVALID_ARGUMENT with file, line and field, or PERMISSION_DENIED for a file with a key in it that other
users can read; no message holds a key.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from interlock.common.config import env_text
from interlock.common.errors import InterlockError, Reason
from interlock.common.plan.load import load_yaml
from interlock.common.plan.nodes import Node
from interlock.common.plan.problems import DocumentError
from interlock.planner.domain.model import PURPOSES, Price
from interlock.planner.gateways_node import At
from interlock.planner.model_config import (
    KINDS,
    Header,
    ModelConfig,
    ModelsConfig,
    Secret,
    checked_base_url,
    checked_key,
    key_in,
)

MOST_GATEWAYS = 20
MOST_HEADERS = 20
_MAX_FILE = 256 * 1024
BOUNDS = {
    "timeout": (1, 3_600),
    "attempts": (1, 10),
    "concurrency": (1, 1_000),
    "max_prompt_chars": (2_000, 10_000_000),
    "max_reply_tokens": (64, 1_000_000),
    "max_reply_bytes": (1_024, 64 * 1024 * 1024),
}
"""Least and most of each whole number, in the file and in the environment."""

_FIELD = {"timeout": "timeout_s"}
_LOCAL = frozenset({"kind", "timeout", "concurrency", "breaker"})
_OPENAI = frozenset(
    {"kind", "base_url", "model", "key", "key_env", "key_file", "headers", "breaker", "price", *BOUNDS}
)
_KNOWN = {"local": _LOCAL, "openai": _OPENAI, "router": _OPENAI | {"tier"}}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_RESERVED = "recorded"  # what answers in a replayed run
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"}
)
_SECRET = re.compile(r"auth|key|token|secret|cookie|password|credential", re.IGNORECASE)
_PREFIX = "INTERLOCK_MODEL_"
_DOLLARS = 1_000_000


def load(file: Path, plan_attempts: int, env: Mapping[str, str] | None = None) -> ModelsConfig:
    """The gateways and routes of a settings file."""
    top = At(file, _document(file)).fields(frozenset({"gateways", "routes"}))
    if "gateways" not in top:
        _broken(file, 1, "gateways", "is missing: a mapping from names to gateways")
    entries = top["gateways"].entries(MOST_GATEWAYS)
    private = False
    gateways = []
    for name, at in entries.items():
        gateway, holds_key = _gateway(name, at, env)
        gateways.append(gateway)
        private = private or holds_key
    if private:
        _check_private(file)
    routes = _routes(top.get("routes"), tuple(entries))
    used = {name for names in routes.values() for name in names}
    for name, at in entries.items():
        if name not in used:
            at.bad("is on no route, so that it is never asked", "Put it on a route, or leave it out.")
    return ModelsConfig(tuple(gateways), routes, plan_attempts)


def _document(file: Path) -> Node:
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MAX_FILE + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        _broken(file, 0, "INTERLOCK_PLANNER_GATEWAYS", f"cannot be read: {os.strerror(error.errno or 0)}")
    except UnicodeDecodeError:
        _broken(file, 0, "INTERLOCK_PLANNER_GATEWAYS", "is not UTF-8 text")
    if len(raw) > _MAX_FILE:
        _broken(file, 0, "INTERLOCK_PLANNER_GATEWAYS", f"has more than {_MAX_FILE:,} bytes")
    try:
        return load_yaml(text)
    except DocumentError as error:
        said = str(error).replace("in a plan", "here")
        _broken(file, error.problem.line, "INTERLOCK_PLANNER_GATEWAYS", said)


def _broken(file: Path, line: int, field: str, what: str) -> NoReturn:
    At(file, Node(None, line), field).bad(what)


def _gateway(name: str, at: At, env: Mapping[str, str] | None) -> tuple[ModelConfig, bool]:
    """A gateway, and whether the file itself holds a secret of it."""
    if not _NAME.fullmatch(name) or name == _RESERVED:
        at.bad("is no name for a gateway: small letters, digits, '.', '_' and '-', at most 40")
    kind = at.need("kind").one_of(KINDS)
    found = at.fields(_KNOWN[kind])
    if kind == "openai":
        at.need("model")
    values: dict[str, Any] = {
        _FIELD.get(field, field): found[field].whole(*bounds)
        for field, bounds in BOUNDS.items()
        if field in found
    }
    if kind != "local":
        base_url = at.need("base_url")
        values["base_url"] = checked_base_url(base_url.text(), base_url.bad)
        values |= {field: found[field].text(300) for field in ("model",) if field in found}
    if "tier" in found:
        values["router_tier"] = found["tier"].text(100)
    if "breaker" in found:
        values |= _breaker(found["breaker"])
    if "price" in found:
        values["price"] = _price(found["price"])
    key = _key(at, found, env)
    headers = _headers(found["headers"], env) if "headers" in found else ()
    plain = "key" in found or any(header.hidden and in_file for header, in_file in headers)
    each = tuple(header for header, _ in headers)
    return ModelConfig(gateway=kind, given_name=name, api_key=key, headers=each, **values), plain


def _breaker(at: At) -> dict[str, Any]:
    found = at.fields(frozenset({"failures", "seconds"}))
    values: dict[str, Any] = {}
    if "failures" in found:
        values["breaker_failures"] = found["failures"].whole(1, 1_000)
    if "seconds" in found:
        values["breaker_seconds"] = float(found["seconds"].number(1, 3_600))
    return values


def _price(at: At) -> Price:
    at.fields(frozenset({"prompt", "completion"}))
    return Price(*(at.need(field).number(0, _DOLLARS) for field in ("prompt", "completion")))


def _key(at: At, found: Mapping[str, At], env: Mapping[str, str] | None) -> Secret | None:
    given = [field for field in ("key", "key_env", "key_file") if field in found]
    if len(given) > 1:
        found[given[1]].bad(f"is given beside {given[0]}", "Keep one of them.")
    if not given:
        return None
    where = found[given[0]]
    if given == ["key"]:
        return checked_key(where.text(), where.bad)
    return _kept(where, given[0].removeprefix("key_"), env)


def _kept(at: At, place: str, env: Mapping[str, str] | None) -> Secret:
    """A secret that the file only says where to find: ``env`` or ``file``."""
    text = at.text()
    if place == "file":
        path = Path(text).expanduser()
        if not path.is_absolute():
            at.bad("must be an absolute path")
        return key_in(path, at.bad)
    if not text.startswith(_PREFIX):
        at.bad(
            f"must be a variable whose name begins with {_PREFIX}",
            "Only such variables are kept from the other services.",
        )
    value = env_text(text, "", env)
    if not value:
        at.bad(f"names the variable {text[:80]}, which is not set")
    return checked_key(value, at.bad)


def _headers(at: At, env: Mapping[str, str] | None) -> tuple[tuple[Header, bool], ...]:
    """Headers, each with whether its value stands in the file itself."""
    return tuple(_header(name, value, env) for name, value in at.entries(MOST_HEADERS).items())


def _header(name: str, at: At, env: Mapping[str, str] | None) -> tuple[Header, bool]:
    if not _HEADER.fullmatch(name) or name.lower() in _OURS:
        at.bad("is no header that can be set")
    if not isinstance(at.node.value, dict):
        text = at.text()
        if not all(" " <= char <= "~" for char in text) or len(text) > 8_000:
            at.bad("must be visible ASCII on one line")
        return Header(name, Secret(text), bool(_SECRET.search(name))), True
    found = at.fields(frozenset({"env", "file"}))
    if len(found) != 1:
        at.bad("must be a text, {env: …} or {file: …}")
    ((place, where),) = found.items()
    return Header(name, _kept(where, place, env), hidden=True), False


def _routes(at: At | None, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found = at.fields(frozenset({*PURPOSES, "default"})) if at else {}
    given = {purpose: _route(each, names) for purpose, each in found.items()}
    default = given.get("default", names)
    return {purpose: given.get(purpose, default) for purpose in PURPOSES}


def _route(at: At, names: tuple[str, ...]) -> tuple[str, ...]:
    items = at.items(MOST_GATEWAYS)
    for item in items:
        if item.text() not in names:
            item.bad(f"names no gateway; there are {', '.join(names)}")
    route = tuple(item.text() for item in items)
    if len(set(route)) < len(route):
        at.bad("names a gateway twice")
    return route


def _check_private(file: Path) -> None:
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise InterlockError(
            Reason.PERMISSION_DENIED,
            f"{file} holds a key, and other users can read it.",
            field="INTERLOCK_PLANNER_GATEWAYS",
            fix=f"Run `chmod 600 {file}`, or name the key by key_env or key_file.",
        )
