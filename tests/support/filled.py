"""A database with a long history: real journals, each event sealed into its run's chain, written by COPY."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from google.protobuf import json_format
from psycopg.types.json import Jsonb

from interlock.orchestrator.domain import decide_run, decide_step
from interlock.orchestrator.domain.actions import actions
from interlock.orchestrator.domain.chain import Sealed, seal
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.model import (
    ZERO_DIGEST,
    Budget,
    Policy,
    Prepared,
    RunState,
    StepKind,
    StepSpec,
)
from interlock.orchestrator.runs.rows import Change
from interlock.v1 import decision_pb2

STEPS = 50
START = datetime(2026, 1, 1, tzinfo=UTC)
TREE = "sha256:" + "b" * 64
Template = list[tuple[str, int, Any]]


def template(steps: int = STEPS) -> Template:
    """Type, step and data of the events of one finished run."""
    ctx = Context(START, lambda prefix: f"{prefix}-template", "anna", "")
    specs = tuple(StepSpec(StepKind.READ_FILE, {"path": f"src/{n}.txt"}) for n in range(steps))
    first = decide_run.create(
        ctx,
        goal="A run of the past",
        workspace_id="ws-template",
        specs=specs,
        policy=Policy(),
        budget=Budget(),
        labels={},
        traceparent="",
        start=True,
        left_out=(),
        left_out_total=0,
        workspace_labels={},
    )
    sealed: list[Sealed] = []
    change = Change("run-template", None, None)
    for event in first:
        change.add(event, START)
    run = change.settle(START)
    sealed += change.sealed
    while run.state is RunState.RUNNING:
        (wanted,) = actions(run)
        effect = Prepared(TREE, TREE, TREE, TREE, TREE, 0)
        change = Change(run.run_id, run, run)
        for event in decide_step.prepared(run, ctx, wanted.step, wanted.attempt, effect):  # type: ignore[attr-defined]
            change.add(event, START)
        run = change.settle(START)
        sealed += change.sealed
    return [(each.type, each.step, json.loads(each.canonical)["data"]) for each in sealed]


def run_id(number: int) -> str:
    """The id of one of the runs; they sort by number."""
    return f"run-01kb{number:022d}"


def _events(count: int) -> Iterator[tuple[int, Sealed]]:
    events, position, number = template(), 0, 0
    while position < count:
        name, prev = run_id(number), ZERO_DIGEST
        at = START + timedelta(seconds=number)
        for seq, (type_, step, data) in enumerate(events, 1):
            sealed = seal(name, seq, prev, at, type_, step, data)
            prev, position = sealed.digest, position + 1
            yield position, sealed
        number += 1


def fill(url: str, count: int, pending: int = 50) -> int:
    """At least `count` events of finished runs, one approval a run of which the last `pending` are open; the runs."""
    last: list[tuple[int, Sealed]] = []
    with psycopg.connect(url) as connection:
        with connection.cursor().copy(
            "COPY journal (run_id, seq, position, type, step, at, canonical, hash) FROM STDIN"
        ) as copy:
            for position, each in _events(count):
                digest = bytes.fromhex(each.digest[7:])
                copy.write_row(
                    (
                        each.run_id,
                        each.seq,
                        position,
                        each.type,
                        each.step or None,
                        each.at,
                        each.canonical,
                        digest,
                    )
                )
                if each.type == "run.completed":
                    last.append((position, each))
        _heads(connection, last)
        _approvals(connection, last, pending)
        connection.execute("UPDATE feed SET position = %s", [last[-1][0]])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return len(last)


def _heads(connection: psycopg.Connection[Any], last: list[tuple[int, Sealed]]) -> None:
    names = "id, state, workspace_id, goal, labels, created_at, updated_at, seq, head_hash, position, steps, steps_done"
    with connection.cursor().copy(f"COPY runs ({names}) FROM STDIN") as copy:
        for n, (position, each) in enumerate(last):
            labels = Jsonb({"team": f"t{n % 40}", "n": str(n)})
            digest = bytes.fromhex(each.digest[7:])
            state = "FAILED" if n % 10 == 0 else "COMPLETED"
            head = (each.run_id, state, f"ws-{n % 500}", "A run of the past", labels, each.at, each.at)
            copy.write_row((*head, each.seq, digest, position, STEPS, STEPS))
    with connection.cursor().copy(
        "COPY workspaces (id, executor, location, head_tree, doc) FROM STDIN"
    ) as copy:
        for n in range(500):
            doc = Jsonb({"labels": {"team": f"t{n % 40}"}})
            copy.write_row((f"ws-{n}", "127.0.0.1:1", f"/nowhere/{n}", TREE, doc))
    with connection.cursor().copy("COPY payloads (digest, media_type, size, body) FROM STDIN") as copy:
        for n in range(len(last) * 10):
            body = f"payload {n} ".encode() * 30
            copy.write_row((hashlib.sha256(body).digest(), "text/plain", len(body), body))


def _approvals(connection: psycopg.Connection[Any], last: list[tuple[int, Sealed]], pending: int) -> None:
    names = "id, run_id, step, attempt, gate, digest, state, requested_at, expires_at, doc"
    with connection.cursor().copy(f"COPY approvals ({names}) FROM STDIN") as copy:
        for n, (_, each) in enumerate(last):
            state = "pending" if n >= len(last) - pending else "approved"
            expires = each.at + timedelta(days=3650)
            name = f"apr-01kb{n:022d}"
            record = decision_pb2.ApprovalRecord(approval_id=name, run_id=each.run_id, step=1, attempt=1)
            doc = Jsonb({"record": json_format.MessageToDict(record), "preview_payload": ""})
            copy.write_row((name, each.run_id, 1, 1, "effect", TREE, state, each.at, expires, doc))
