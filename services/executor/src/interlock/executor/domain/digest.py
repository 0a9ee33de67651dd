"""The two digests that decisions are bound to. Field by field, with test vectors: docs/effect-digest.md.

Both are SHA-256 over a domain line and canonical JSON (RFC 8785) of a document. The documents are kept beside the
digests, so that both can be computed again from what is recorded, before anything is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from interlock.common.digests import digest_json
from interlock.executor.domain.model import JsonValue, StepRequest, limit_facts

REQUEST_DOMAIN = "interlock.executor.request.v1"
EFFECT_DOMAIN = "interlock.executor.effect.v1"

Document = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What decides a command's effect besides its request: argument vector, whole environment, sandbox policy.

    All empty for kinds that run no process.
    """

    argv: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None
    sandbox: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """Digest and length of a stream, or of a file's content."""

    digest: str
    total: int


def request_document(request: StepRequest, base_tree: str, around: Surroundings) -> Document:
    """What is asked, on which tree, in which surroundings."""
    # A field that is absent where no rules decide: the digests of such steps are what they always were.
    policy = {"policy": request.policy} if request.policy else {}
    return {
        **policy,
        "run": request.key.run,
        "step": request.key.step,
        "attempt": request.key.attempt,
        "workspace": request.workspace,
        "kind": request.action.kind,
        "input": request.action.facts(),
        "base_tree": base_tree,
        "argv": list(around.argv),
        "environment": None if around.environment is None else dict(around.environment),
        "limits": limit_facts(request.limits),
        "sandbox": None if around.sandbox is None else dict(around.sandbox),
    }


def effect_document(
    request_digest: str,
    *,
    result_tree: str,
    exit_code: int | None,
    signal: int,
    streams: Mapping[str, StreamFacts],
    failure: str,
) -> Document:
    """What came of it. `streams` has `stdout` and `stderr`, or `content`; `failure` is a reason or empty."""
    return {
        "request": request_digest,
        "result_tree": result_tree,
        "exit_code": exit_code,
        "signal": signal,
        "streams": {name: {"digest": item.digest, "bytes": item.total} for name, item in streams.items()},
        "failure": failure,
    }


def request_digest(document: Document) -> str:
    """Digest of a request document, `sha256:…`."""
    return digest_json(document, REQUEST_DOMAIN)


def effect_digest(document: Document) -> str:
    """Digest of an effect document, `sha256:…`."""
    return digest_json(document, EFFECT_DOMAIN)
