from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.common.plan import (
    AnalyzeInput,
    EditFileInput,
    Gate,
    OnFailure,
    Plan,
    PlanBudget,
    PlanPolicy,
    PlanStep,
    ReadFileInput,
    RunCommandInput,
    StepInput,
    StepKind,
    SummarizeInput,
    dump_json,
    dump_yaml,
    parse_plan,
    plan_from_data,
    to_data,
)

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
some_text = text.filter(bool)
tricky = st.sampled_from(
    ["null", "~", "true", "1", "1e3", "0x1", ".5", "-", "- a", "a: b", "#c", " lead", "trail ", "\n", "a\n\n b\n",
     "\ttab", "'", '"', "%", "@", "`", "<<", "=", "\x85", "\u2028", "\ufeff", "\r\n", "\x1b[0m", "a\n  \n", "|", "> x"]
)  # fmt: skip
content = st.one_of(text, tricky)
paths = st.text("abc./_- é", min_size=1, max_size=20).filter(
    lambda p: not p.startswith("/") and ".." not in p.split("/")
)
lines = st.integers(0, 100)


def inputs(index: int) -> st.SearchStrategy[tuple[StepKind, StepInput]]:
    keys = (
        st.lists(st.integers(1, index).map("step-{}".format), max_size=3).map(tuple) if index else st.just(())
    )
    command = st.builds(
        RunCommandInput,
        working_dir=st.one_of(st.just(""), paths),
        timeout_ms=st.one_of(st.none(), st.integers(1, 86_400_000)),
        env=st.dictionaries(st.from_regex(r"[A-Z_]{1,5}", fullmatch=True), content, max_size=2),
        network=st.lists(st.just("example.org:443"), max_size=1).map(tuple),
        allowed_exit_codes=st.lists(st.integers(0, 255), max_size=2).map(tuple),
        secrets=st.dictionaries(
            st.sampled_from(["TOKEN", "/run/secrets/key"]),
            st.from_regex("[a-z0-9][a-z.-]{0,5}", fullmatch=True),
        ),
        command=st.one_of(some_text, tricky),
    )
    argv = st.lists(content, min_size=1, max_size=3).map(lambda a: RunCommandInput(argv=tuple(a)))
    edits = st.one_of(
        st.builds(EditFileInput, paths, new_content=content),
        st.builds(EditFileInput, paths, patch=some_text),
        st.builds(EditFileInput, paths, instruction=some_text),
    )
    reads = st.builds(ReadFileInput, paths, lines, st.sampled_from([0, 100]))
    return st.one_of(
        reads.map(lambda i: (StepKind.READ_FILE, i)),
        st.builds(AnalyzeInput, some_text, keys).map(lambda i: (StepKind.ANALYZE, i)),
        edits.map(lambda i: (StepKind.EDIT_FILE, i)),
        st.one_of(command, argv).map(lambda i: (StepKind.RUN_COMMAND, i)),
        st.builds(SummarizeInput, content, keys).map(lambda i: (StepKind.SUMMARIZE, i)),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    steps = []
    for index in range(draw(st.integers(1, 4))):
        kind, chosen = draw(inputs(index))
        gate = draw(st.one_of(st.none(), st.sampled_from(Gate)))
        retries = draw(st.integers(0, 10))
        steps.append(PlanStep(kind, chosen, draw(content), gate, retries, draw(st.sampled_from(OnFailure))))
    gates = st.one_of(st.none(), st.sampled_from(Gate))
    timeout = st.one_of(st.none(), st.integers(1000, 10**9))
    policy = draw(st.one_of(st.none(), st.builds(PlanPolicy, content, gates, gates, st.booleans(), timeout)))
    amount = st.one_of(st.none(), st.integers(1, 10**12))
    calls = st.one_of(st.none(), st.integers(1, 1000))
    budget = draw(st.one_of(st.none(), st.builds(PlanBudget, amount, calls)))
    labels = draw(
        st.dictionaries(st.from_regex(r"[a-zA-Z0-9][a-z0-9./_-]{0,5}", fullmatch=True), content, max_size=2)
    )
    return Plan(draw(some_text), tuple(steps), policy, budget, labels)


@settings(max_examples=75, deadline=None)
@given(plans())
def test_what_is_written_reads_back_as_the_same_plan(plan: Plan) -> None:
    assert parse_plan(dump_yaml(plan)) == plan
    assert parse_plan(dump_json(plan)) == plan
    assert plan_from_data(to_data(plan)) == plan


def test_long_texts_are_written_as_blocks_and_defaults_left_out() -> None:
    step = PlanStep(StepKind.EDIT_FILE, EditFileInput("a.py", new_content="x = 1\ny = 2\n"))
    written = dump_yaml(Plan("g", (step,)))
    assert written == (
        "goal: g\nsteps:\n- edit_file:\n    path: a.py\n    new_content: |\n      x = 1\n      y = 2\n"
    )


@pytest.mark.parametrize("micros", [1, 10, 500_000, 1_000_000, 12_345_678, 10**12])
def test_money_is_written_as_a_plain_number(micros: int) -> None:
    plan = Plan("g", (PlanStep(StepKind.SUMMARIZE, SummarizeInput()),), budget=PlanBudget(micros))
    for written in (dump_yaml(plan), dump_json(plan)):
        assert parse_plan(written).budget == PlanBudget(micros)
        assert "e-" not in written.lower()
    assert isinstance(json.loads(dump_json(plan))["budget"]["usd"], (int, float))


def test_the_same_object_twice_is_written_twice() -> None:
    same = PlanStep(StepKind.READ_FILE, ReadFileInput("a"))
    assert "&" not in dump_yaml(Plan("g", (same, same)))
