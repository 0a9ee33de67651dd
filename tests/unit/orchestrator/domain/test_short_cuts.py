"""Where the hot path does not take the general way: the result is that of the general way."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import rfc8785
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from interlock.orchestrator.convert import results
from interlock.orchestrator.domain.chain import VERSION, parse_time, seal, time_text
from interlock.orchestrator.domain.model import (
    Gate,
    Run,
    Step,
    StepKind,
    StepSpec,
    StepState,
    changed_run,
    changed_step,
)
from interlock.v1 import executor_pb2

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
TIMES = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - bounds are naive, `timezones` says where
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001 - the same
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7, minutes=30))]),
)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@given(TEXT, st.integers(1, 2**53 - 1), TEXT, TIMES, TEXT, st.integers(0, 10_000), VALUES)
def test_a_sealed_event_is_the_canonical_form_of_all_of_it(
    run_id: str, seq: int, prev: str, at: datetime, type_: str, step: int, data: Any
) -> None:
    whole = {"v": VERSION, "run_id": run_id, "seq": seq, "prev": prev, "at": time_text(at), "type": type_}
    sealed = seal(run_id, seq, prev, at, type_, step, data)
    assert sealed.canonical == rfc8785.dumps({**whole, "step": step, "data": data})
    assert sealed.digest == "sha256:" + hashlib.sha256(sealed.canonical).hexdigest()


@given(TIMES)
def test_times_are_written_as_documented(at: datetime) -> None:
    assert time_text(at) == at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert parse_time(time_text(at)) == at


def test_a_changed_record_is_what_replace_makes() -> None:
    step = Step(3, StepSpec(StepKind.READ_FILE, {"path": "a"}), authors=("anna",), started_at=NOW)
    changes: dict[str, Any] = {"state": StepState.PREPARING, "attempt": 2, "gate": Gate.BOTH, "votes": ()}
    assert changed_step(step, changes) == dataclasses.replace(step, **changes)
    assert changed_step(step, {}) == step
    run = Run("run-1", "goal", "ws-1", "anna", NOW, NOW, labels={"a": "b"})
    again: dict[str, Any] = {"seq": 7, "steps": run.steps.extend([step]), "cursor": 1}
    assert changed_run(run, again) == dataclasses.replace(run, **again)
    assert (run.seq, len(run.steps)) == (0, 0)


def test_every_field_is_copied() -> None:
    marks = {field.name: object() for field in dataclasses.fields(Step)}
    copied = changed_step(Step(**marks), {"state": StepState.FAILED})  # type: ignore[arg-type]
    expected = {**marks, "state": StepState.FAILED}
    assert {name: getattr(copied, name) for name in marks} == expected


@pytest.mark.parametrize("name", ["stat", "", "__class__", "key"])
def test_what_is_no_field_is_refused(name: str) -> None:
    with pytest.raises(KeyError):
        changed_step(Step(1, StepSpec(StepKind.READ_FILE, {})), {name: 1})


@given(
    st.fixed_dictionaries(
        {"path": TEXT}, optional={"start_line": st.integers(0, 2**31 - 1), "end_line": st.integers(0, 9)}
    )
)
def test_reading_is_asked_for_as_json_would_have_it(fields: dict[str, Any]) -> None:
    spec = StepSpec(StepKind.READ_FILE, fields)
    expected = json_format.ParseDict({"read_file": fields}, executor_pb2.Action())
    assert results.action(spec, fields, None) == expected


@given(TEXT, TEXT, st.sampled_from(["new_content", "patch"]))
def test_editing_is_asked_for_as_json_would_have_it(path: str, content: str, kind: str) -> None:
    fields = {"path": path, kind: content}
    spec = StepSpec(StepKind.EDIT_FILE, fields)
    expected = json_format.ParseDict({"edit_file": fields}, executor_pb2.Action())
    assert results.action(spec, fields, None) == expected
    drafted = json_format.ParseDict({"edit_file": {"path": path, "new_content": "x"}}, executor_pb2.Action())
    assert results.action(spec, fields, "x") == drafted
