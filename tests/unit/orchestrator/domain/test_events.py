"""The form of events in the journal: frozen bytes, exact round trips, refusal of everything else.

`golden_events.json` was written once and is never regenerated: an entry that changes would change the hash of
events that exist. New event types are added to it by hand, with `python tests/support/sample_events.py`.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.sample_events import AT, PREV, RUN_ID, SAMPLES, name_of, sealed

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.chain import parse_time, seal, time_text
from interlock.orchestrator.domain.model import Failure, Json, StepKind, StepSpec
from interlock.verify import canonical
from interlock.verify.chain import Chain

GOLDEN: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("golden_events.json").read_text())


def test_every_event_has_a_sample_and_a_golden_entry() -> None:
    assert {event.type for event in SAMPLES} == set(e.REGISTRY) == {name.split("/")[0] for name in GOLDEN}


@pytest.mark.parametrize("index", range(len(SAMPLES)), ids=name_of)
def test_bytes_are_frozen(index: int) -> None:
    event = SAMPLES[index]
    golden = GOLDEN[name_of(index)]
    made = sealed(event, index)
    assert made.canonical.decode() == golden["canonical"]
    assert made.digest == golden["digest"]
    data = json.loads(golden["canonical"])
    assert e.decode(data["type"], data["step"], data["data"]) == event


@pytest.mark.parametrize(
    "event", {event.type: event for event in SAMPLES}.values(), ids=lambda event: event.type
)
def test_samples_have_no_field_at_its_default(event: e.Event) -> None:
    fields = {f.name for f in dataclasses.fields(event)} - {"step"}
    assert set(e.encode(event)) == fields


class _Findings:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def add(self, line: int, where: str, message: str) -> None:
        self.messages.append(f"{where}: {message}")


def test_the_offline_verifier_accepts_the_golden_events() -> None:
    findings = _Findings()
    for golden in GOLDEN.values():
        data = golden["canonical"].encode()
        assert canonical.parse(data)["v"] == 1
        chain = Chain(findings)
        chain.run_id = RUN_ID
        chain.event(1, data)
        assert chain.head == golden["digest"]
    # Each sample stands for itself, so only places and links can be wrong.
    assert {m.split(": ")[1].split(" ")[0] for m in findings.messages} <= {"its", "seq", "the", "prev", "it"}


def test_a_field_added_later_does_not_change_old_bytes() -> None:
    @dataclass(frozen=True, slots=True)
    class Later(e.StepFailed):
        type = ""
        blame: str = ""
        seen: tuple[str, ...] = ()
        notes: Json = dataclasses.field(default_factory=dict)

    failure = Failure("COMMAND_FAILED", "m")
    old, new = e.StepFailed(2, failure, step=1), Later(2, failure, step=1)
    assert e.encode(new) == e.encode(old)
    assert e.encode(Later(2, failure, blame="x")) == {**e.encode(old), "blame": "x"}


def test_what_the_defaults_stand_for_is_frozen_too() -> None:
    """An absent field means its default for ever; a default that changes would rewrite history."""
    created = e.decode("run.created", 0, {"goal": "g", "workspace_id": "ws-1", "created_by": "ann"})
    assert isinstance(created, e.RunCreated)
    assert dataclasses.asdict(created.policy) == {
        "name": "default",
        "edit_file_gate": "effect",
        "run_command_gate": "command",
        "steps_may_weaken": False,
        "approval_timeout_us": None,
        "stages": (),
        "groups": (),
        "separate_requester": False,
        "version": "",
        "rules": (),
        "named_gates": (),
        "remind_us": 0,
        "escalate_us": 0,
        "escalate_to": (),
    }
    assert dataclasses.asdict(created.budget) == {
        "max_cost_micros": 0,
        "max_model_calls": 0,
        "unpriced_call_micros": 0,
    }
    added = e.decode(
        "run.steps_added", 0, {"first": 1, "specs": [{"kind": "read_file", "input": {"path": "a"}}]}
    )
    assert added == e.StepsAdded(1, (StepSpec(StepKind.READ_FILE, {"path": "a"}),))
    assert added.specs[0].on_failure == "stop"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("run.exploded", {}),
        ("run.created", {}),
        ("run.created", []),
        ("run.created", {"goal": 1, "workspace_id": "w", "created_by": "a"}),
        ("run.created", {"goal": "g", "workspace_id": "w", "created_by": "a", "step": 3}),
        ("run.created", {"goal": "g", "workspace_id": "w", "created_by": "a", "type": "x"}),
        ("run.created", {"goal": "g", "workspace_id": "w", "created_by": "a", "labels": [1]}),
        (
            "run.created",
            {"goal": "g", "workspace_id": "w", "created_by": "a", "policy": {"edit_file_gate": "no"}},
        ),
        ("run.created", {"goal": "g", "workspace_id": "w", "created_by": "a", "policy": "default"}),
        ("run.steps_added", {"first": True, "specs": []}),
        ("run.steps_added", {"first": 1, "specs": "ab"}),
        ("run.steps_added", {"first": 1, "specs": [{"kind": "dance", "input": {}}]}),
        ("step.failed", {"attempt": 1, "failure": {"reason": "X", "message": "m", "mood": "bad"}}),
        ("step.failed", {"attempt": "1", "failure": {"reason": "X", "message": "m"}}),
        ("step.failed", {"attempt": 1, "failure": {"reason": "X", "message": "m"}, "will_retry": 1}),
    ],
)
def test_what_no_version_has_written_is_refused(type_: str, data: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        e.decode(type_, 0, data)


def test_null_stands_for_nothing_where_nothing_is_allowed() -> None:
    call = e.encode(SAMPLES[[s.type for s in SAMPLES].index("model.called")])["call"]
    decoded = e.decode("model.called", 0, {"call": {**call, "cost_micros": None}})
    assert decoded.call.cost_micros is None  # type: ignore[attr-defined]


# -- the envelope -----------------------------------------------------------------------------------------------


_YEAR_1970, _YEAR_9999 = AT.replace(year=1970, tzinfo=None), AT.replace(year=9999, tzinfo=None)


@given(st.datetimes(_YEAR_1970, _YEAR_9999), st.integers(-14, 14))
def test_times_round_trip_in_utc(naive: datetime, hours: int) -> None:
    at = naive.replace(tzinfo=UTC)
    text = time_text(at)
    assert parse_time(text) == at
    assert len(text) == 27
    elsewhere = timezone(timedelta(hours=hours))
    assert time_text(at.astimezone(elsewhere)) == text


def test_every_part_of_the_envelope_counts() -> None:
    usual: dict[str, Any] = {
        "run_id": RUN_ID,
        "seq": 2,
        "prev": PREV,
        "at": AT,
        "type_": "run.completed",
        "step": 0,
        "data": {},
    }
    others = [
        {"run_id": "run-2"},
        {"seq": 3},
        {"prev": "sha256:" + "2" * 64},
        {"at": AT + timedelta(microseconds=1)},
        {"type_": "run.cancelled"},
        {"step": 1},
        {"data": {"by": "x"}},
    ]
    digests = {seal(**{**usual, **other}).digest for other in ({}, *others)}
    assert len(digests) == len(others) + 1


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_TEXT, _JSON, max_size=4), _TEXT, st.integers(0, 10))
def test_any_input_reads_back_as_it_was(given_input: dict[str, Any], name: str, retries: int) -> None:
    event = e.StepsAdded(1, (StepSpec(StepKind.ANALYZE, given_input, name=name, retries=retries),), by=name)
    made = seal(RUN_ID, 1, PREV, AT, event.type, 0, e.encode(event))
    data = json.loads(made.canonical)
    assert e.decode(data["type"], data["step"], data["data"]) == event
