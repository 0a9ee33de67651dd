from __future__ import annotations

import json
from decimal import Decimal

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.common.plan import (
    MAX_DOCUMENT_BYTES,
    MAX_STEPS,
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
    StepKind,
    SummarizeInput,
    check_plan,
    parse_plan,
    plan_from_data,
)

FULL = """\
# a comment
goal: Add a retry helper
policy:
  name: careful
  run_command_gate: both
  steps_may_weaken: true
  approval_timeout: 7d
budget: {usd: 0.50, model_calls: 10}
labels: {team: core, "build/nr": "7"}
steps:
  - read_file: {path: src/a.py, start_line: 1, end_line: 20}
    name: Look at it
  - analyze: {instruction: What is wrong?, context_keys: [step-1]}
  - edit_file:
      path: src/a.py
      new_content: |
        def f():
            return 1
    gate: effect
  - run_command:
      argv: [python, -m, pytest, "1"]
      working_dir: src
      timeout: 90
      env: {PYTHONHASHSEED: "0"}
      network: ["example.org:443", "[::1]:80"]
      allowed_exit_codes: [5]
    retries: 2
    on_failure: continue
  - summarize:
"""


def plan(steps: str) -> str:
    return "goal: g\nsteps:\n" + steps


def failure(document: str | bytes) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        parse_plan(document)
    return caught.value


def test_every_field_is_read() -> None:
    assert parse_plan(FULL) == Plan(
        goal="Add a retry helper",
        policy=PlanPolicy("careful", None, Gate.BOTH, True, 7 * 86_400_000),
        budget=PlanBudget(500_000, 10),
        labels={"team": "core", "build/nr": "7"},
        steps=(
            PlanStep(StepKind.READ_FILE, ReadFileInput("src/a.py", 1, 20), name="Look at it"),
            PlanStep(StepKind.ANALYZE, AnalyzeInput("What is wrong?", ("step-1",))),
            PlanStep(
                StepKind.EDIT_FILE,
                EditFileInput("src/a.py", new_content="def f():\n    return 1\n"),
                gate=Gate.EFFECT,
            ),
            PlanStep(
                StepKind.RUN_COMMAND,
                RunCommandInput(
                    argv=("python", "-m", "pytest", "1"),
                    working_dir="src",
                    timeout_ms=90_000,
                    env={"PYTHONHASHSEED": "0"},
                    network=("example.org:443", "[::1]:80"),
                    allowed_exit_codes=(5,),
                ),
                retries=2,
                on_failure=OnFailure.CONTINUE,
            ),
            PlanStep(StepKind.SUMMARIZE, SummarizeInput()),
        ),
    )


def test_json_and_yaml_say_the_same() -> None:
    data = {"goal": "g", "budget": 0.5, "policy": "cautious", "steps": [{"run_command": {"command": "true"}}]}
    expected = plan_from_data(data)
    assert parse_plan(json.dumps(data)) == expected
    assert parse_plan(json.dumps(data).encode()) == expected
    assert (
        parse_plan("goal: g\nbudget: 0.5\npolicy: cautious\nsteps: [{run_command: {command: 'true'}}]")
        == expected
    )
    assert expected.budget == PlanBudget(max_cost_micros=500_000)
    assert expected.policy == PlanPolicy("cautious", include=("cautious",))


def test_a_yaml_flow_mapping_is_not_mistaken_for_json() -> None:
    assert parse_plan("{goal: g, steps: [{summarize: {}}]}").goal == "g"
    assert "not YAML" in str(failure("{goal: g, steps: [{summarize: {}}"))


def test_a_byte_order_mark_is_tolerated() -> None:
    assert parse_plan(b"\xef\xbb\xbfgoal: g\nsteps: [{summarize: {}}]").goal == "g"


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("500ms", 500), ("90s", 90_000), ("2m", 120_000), ("1h", 3_600_000), ("0.5", 500)],
)
def test_timeouts_are_seconds_or_text_with_a_unit(text: str, milliseconds: int) -> None:
    step = parse_plan(plan(f"- run_command: {{command: x, timeout: {text}}}")).steps[0].input
    assert isinstance(step, RunCommandInput)
    assert step.timeout_ms == milliseconds


@pytest.mark.parametrize("word", ["no", "on", "1:30", "0x10", "0o7", "2026-01-01", "1_000", "nan", ".inf"])
def test_words_that_older_yaml_would_change_stay_text(word: str) -> None:
    step = parse_plan(plan(f"- run_command: {{command: {word}}}")).steps[0].input
    assert isinstance(step, RunCommandInput)
    assert step.command == word


KEYS = "steps[0].analyze.context_keys"
RUN = "steps[0].run_command"
QUOTE = "Put it in quotes."
BAD_STEPS = [
    ("- read_fil: {path: a}", Reason.STEP_KIND_UNKNOWN, "steps[0].read_fil", "Did you mean read_file?"),
    ("- {}", Reason.STEP_FIELD_MISSING, "steps[0]", None),
    ("- {name: lonely}", Reason.STEP_FIELD_MISSING, "steps[0]", None),
    ("- just text", Reason.PLAN_INVALID, "steps[0]", None),
    ("- {read_file: {path: a}, summarize: {}}", Reason.PLAN_INVALID, "steps[0]", "Make them two steps."),
    ("- read_file: {}", Reason.STEP_FIELD_MISSING, "steps[0].read_file.path", None),
    ("- read_file:", Reason.STEP_FIELD_MISSING, "steps[0].read_file.path", None),
    ("- read_file: a.py", Reason.PLAN_INVALID, "steps[0].read_file", None),
    ("- read_file: {path: 7}", Reason.PLAN_INVALID, "steps[0].read_file.path", QUOTE),
    ("- read_file: {path: ''}", Reason.PLAN_INVALID, "steps[0].read_file.path", None),
    ("- read_file: {path: /etc/passwd}", Reason.PATH_OUTSIDE_WORKSPACE, "steps[0].read_file.path", None),
    ("- read_file: {path: ../x}", Reason.PATH_OUTSIDE_WORKSPACE, "steps[0].read_file.path", None),
    ("- read_file: {path: a/../../x}", Reason.PATH_OUTSIDE_WORKSPACE, "steps[0].read_file.path", None),
    ("- read_file: {path: a, start_line: 0}", Reason.PLAN_INVALID, "steps[0].read_file.start_line", None),
    ("- read_file: {path: a, start_line: 9, end_line: 3}", Reason.PLAN_INVALID, "steps[0].read_file.end_line", None),
    ("- read_file: {path: a, start_line: 1.5}", Reason.PLAN_INVALID, "steps[0].read_file.start_line", None),
    ("- read_file: {path: a, pth: b}", Reason.PLAN_INVALID, "steps[0].read_file.pth", "Did you mean path?"),
    ("- analyze: {}", Reason.STEP_FIELD_MISSING, "steps[0].analyze.instruction", None),
    ("- analyze: {instruction: x, context_keys: [step-1]}", Reason.PLAN_INVALID, f"{KEYS}[0]", None),
    ("- analyze: {instruction: x, context_keys: [one]}", Reason.PLAN_INVALID, f"{KEYS}[0]", None),
    ("- analyze: {instruction: x, context_keys: step-1}", Reason.PLAN_INVALID, KEYS, None),
    ("- edit_file: {path: a}", Reason.STEP_FIELD_MISSING, "steps[0].edit_file", None),
    ("- edit_file: {path: a, patch: x, new_content: y}", Reason.PLAN_INVALID, "steps[0].edit_file",
     "Remove the others."),
    ("- edit_file: {new_content: y}", Reason.STEP_FIELD_MISSING, "steps[0].edit_file.path", None),
    ("- run_command: {}", Reason.STEP_FIELD_MISSING, "steps[0].run_command", None),
    ("- run_command: {command: true}", Reason.PLAN_INVALID, "steps[0].run_command.command", QUOTE),
    ("- run_command: {argv: []}", Reason.PLAN_INVALID, "steps[0].run_command.argv", None),
    ("- run_command: {argv: [sleep, 1]}", Reason.PLAN_INVALID, "steps[0].run_command.argv[1]", QUOTE),
    ("- run_command: {command: x, timeout: 0}", Reason.PLAN_INVALID, "steps[0].run_command.timeout", None),
    ("- run_command: {command: x, timeout: 25h}", Reason.PLAN_INVALID, "steps[0].run_command.timeout", None),
    ("- run_command: {command: x, timeout: soon}", Reason.PLAN_INVALID, "steps[0].run_command.timeout", None),
    ("- run_command: {command: x, env: {PORT: 80}}", Reason.PLAN_INVALID, f"{RUN}.env.PORT", QUOTE),
    ("- run_command: {command: x, env: {'A=B': c}}", Reason.PLAN_INVALID, "steps[0].run_command.env", None),
    ("- run_command: {command: x, network: true}", Reason.PLAN_INVALID, "steps[0].run_command.network", None),
    ("- run_command: {command: x, network: [host.org]}", Reason.PLAN_INVALID, "steps[0].run_command.network[0]", None),
    ("- {summarize: {}, gate: maybe}", Reason.PLAN_INVALID, "steps[0].gate", None),
    ("- {summarize: {}, retries: 11}", Reason.PLAN_INVALID, "steps[0].retries", None),
    ("- {summarize: {}, on_failure: retry}", Reason.PLAN_INVALID, "steps[0].on_failure", None),
    ("- {summarize: {}, gates: none}", Reason.PLAN_INVALID, "steps[0].gates", "Did you mean gate?"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "reason", "field", "fix"), BAD_STEPS)
def test_a_bad_step_is_named_exactly(steps: str, reason: Reason, field: str, fix: str | None) -> None:
    error = failure(plan(steps))
    assert (error.reason, error.field) == (reason, field)
    assert error.metadata["line"] == "3"
    assert f"line 3, column {error.metadata['column']}: {field}" in str(error)
    if fix is not None:
        assert error.fix == fix


def test_the_position_is_that_of_the_value() -> None:
    error = failure(
        "goal: g\nsteps:\n  - read_file:\n      path: ok\n  - edit_file:\n      path: /abs\n      patch: x\n"
    )
    assert (error.metadata, error.field) == ({"line": "6", "column": "13"}, "steps[1].edit_file.path")


def test_all_problems_are_listed_and_the_error_counts_them() -> None:
    document = plan("- read_file: {}\n- analyze: {}\n- nonsense: 1\n")
    found, problems = check_plan(document)
    assert found is None
    assert [problem.field for problem in problems] == [
        "steps[0].read_file.path",
        "steps[1].analyze.instruction",
        "steps[2].nonsense",
    ]
    assert "(and 2 more problems)" in str(failure(document))


def test_the_list_of_problems_is_bounded() -> None:
    document = plan("- bad: 1\n" * 5000)
    assert len(check_plan(document)[1]) == 100
    assert "(and 4999 more problems)" in str(failure(document))


BAD_DOCUMENTS: list[tuple[str | bytes, Reason, str]] = [
    ("", Reason.PLAN_INVALID, "empty"),
    ("# nothing\n", Reason.PLAN_INVALID, "empty"),
    ("just text", Reason.PLAN_INVALID, "a plan is a mapping"),
    ("[1, 2]", Reason.PLAN_INVALID, "a plan is a mapping"),
    ("steps: [{summarize: {}}]", Reason.PLAN_INVALID, "goal: is missing"),
    ("goal: g", Reason.RUN_EMPTY_PLAN, "steps: is missing"),
    ("goal: g\nsteps: []", Reason.RUN_EMPTY_PLAN, "steps: is empty"),
    ("goal: g\nsteps: {}", Reason.PLAN_INVALID, "steps: must be a list"),
    ("goal: g\nsteps: [{summarize: {}}]\nstep: 1", Reason.PLAN_INVALID, "step: is not a field"),
    ("goal: g\nbudget: 0\nsteps: [{summarize: {}}]", Reason.PLAN_INVALID, "budget"),
    ("goal: g\nbudget: lots\nsteps: [{summarize: {}}]", Reason.PLAN_INVALID, "budget: must be a number"),
    ("goal: g\npolicy: {name: 1}\nsteps: [{summarize: {}}]", Reason.PLAN_INVALID, "policy.name"),
    ("goal: g\npolicy:\nsteps: [{summarize: {}}]", Reason.PLAN_INVALID, "policy: must be a mapping"),
    ("goal: g\nlabels: {'a b': c}\nsteps: [{summarize: {}}]", Reason.PLAN_INVALID, "label key"),
    ("goal: g\ngoal: h\nsteps: []", Reason.PLAN_INVALID, "line 2, column 1: the key 'goal' is given twice"),
    ("goal: &a g\nsteps: []", Reason.PLAN_INVALID, "anchors and aliases"),
    ("goal: g\nsteps: [*a]", Reason.PLAN_INVALID, "line 2, column 9: anchors and aliases"),
    ("goal: !!python/object:os.system x", Reason.PLAN_INVALID, "tags are not allowed"),
    ("goal: !x g", Reason.PLAN_INVALID, "tags are not allowed"),
    ("goal: g\n<<: {steps: []}", Reason.PLAN_INVALID, "merge keys"),
    ("goal: g\n1: x", Reason.PLAN_INVALID, "key '1' is not text"),
    ("goal: g\n[a]: x", Reason.PLAN_INVALID, "a key must be text"),
    ("goal: g\n---\ngoal: h", Reason.PLAN_INVALID, "more than one document"),
    ("goal: [unclosed", Reason.PLAN_INVALID, "not YAML"),
    ("goal: g\n\tsteps: []", Reason.PLAN_INVALID, "line 2"),
    ('goal: "a\\0b"', Reason.PLAN_INVALID, "NUL"),
    ("goal: a\x00b", Reason.PLAN_INVALID, "not YAML"),
    (b"goal: \xff\xfe", Reason.PLAN_INVALID, "line 1, column 1: the document is not UTF-8"),
    ("goal: \ud800", Reason.PLAN_INVALID, "lone surrogate"),
    ('{"goal": "\\ud800", "steps": []}', Reason.PLAN_INVALID, "lone surrogate"),
    ('{"goal": "g", "goal": "h"}', Reason.PLAN_INVALID, "'goal' is given twice"),
    ('{"goal": NaN}', Reason.PLAN_INVALID, "NaN is not JSON"),
    ('{"goal": "g",', Reason.PLAN_INVALID, "line 1"),
    ("goal: " + "9" * 5000, Reason.PLAN_INVALID, "digits"),
    ('{"goal": ' + "9" * 5000 + "}", Reason.PLAN_INVALID, "digits"),
    ("goal: 1e999999999", Reason.PLAN_INVALID, "out of range"),
    ("[" * 100_000, Reason.PLAN_INVALID, "levels deep"),
    ('{"a":' * 100_000, Reason.PLAN_INVALID, "deep"),
    ("x" * (MAX_DOCUMENT_BYTES + 1), Reason.PLAN_INVALID, "4,194,305 bytes"),
]


@pytest.mark.parametrize(("document", "reason", "message"), BAD_DOCUMENTS, ids=range(len(BAD_DOCUMENTS)))
def test_a_bad_document_is_refused_with_its_reason(
    document: str | bytes, reason: Reason, message: str
) -> None:
    error = failure(document)
    assert error.reason is reason
    assert message in str(error)


def test_aliases_cannot_expand_a_small_document() -> None:
    levels = "\n".join(f"l{i}: &l{i} [" + ", ".join([f"*l{i - 1}"] * 9) + "]" for i in range(1, 12))
    assert "anchors and aliases" in str(failure("l0: &l0 [x]\n" + levels))


def test_the_number_of_steps_is_bounded() -> None:
    step = "- summarize: {}\n"
    assert len(parse_plan(plan(step * MAX_STEPS)).steps) == MAX_STEPS
    error = failure(plan(step * (MAX_STEPS + 1)))
    assert (error.reason, error.field) == (Reason.RUN_TOO_MANY_STEPS, "steps")


def test_plain_data_of_other_types_is_refused() -> None:
    for value in (b"bytes", {1: 2}, object(), 2**5000, float("nan"), float("inf")):
        with pytest.raises(InterlockError) as caught:
            plan_from_data({"goal": value, "steps": []})
        assert caught.value.reason is Reason.PLAN_INVALID


def test_money_is_exact() -> None:
    for text, micros in [("0.1", 100_000), ("0.000001", 1), ("19.99", 19_990_000), ("1.0000019", 1_000_001)]:
        assert plan_from_data(
            {"goal": "g", "budget": Decimal(text), "steps": [{"summarize": {}}]}
        ).budget == (PlanBudget(max_cost_micros=micros))


def test_an_option_of_the_step_inside_its_kind_is_told_where_it_belongs() -> None:
    with pytest.raises(InterlockError) as caught:
        parse_plan("goal: g\nsteps:\n  - run_command: {command: ls, gate: effect}\n")
    assert caught.value.field == "steps[0].run_command.gate"
    assert "beside `run_command`" in caught.value.fix


def test_a_list_of_secrets_names_their_variables() -> None:
    step = {"run_command": {"command": "x", "secrets": ["deploy-token", "a.b"]}}
    given = plan_from_data({"goal": "g", "steps": [step]}).steps[0].input
    assert isinstance(given, RunCommandInput)
    assert given.secrets == {"DEPLOY_TOKEN": "deploy-token", "A_B": "a.b"}


@pytest.mark.parametrize("names", [["a-b", "a_b"], ["a", "A"], ["9a"], ["a b"], [1]])
def test_a_list_of_secrets_that_cannot_be_variables_is_refused(names: list[object]) -> None:
    step = {"run_command": {"command": "x", "secrets": names}}
    with pytest.raises(InterlockError) as caught:
        plan_from_data({"goal": "g", "steps": [step]})
    assert caught.value.reason is Reason.PLAN_INVALID


def test_hosts_are_a_list_or_a_mapping_with_one() -> None:
    document = "goal: g\nsteps:\n  - run_command: {{command: x, network: {}}}\n"
    listed, mapped = (
        parse_plan(document.format(text).encode()) for text in ('["a.test:1"]', '{hosts: ["a.test:1"]}')
    )
    assert listed == mapped
    found = listed.steps[0].input
    assert isinstance(found, RunCommandInput)
    assert found.network == ("a.test:1",)


@pytest.mark.parametrize(
    ("network", "field"),
    [
        ("{}", ""),
        ("{host: ['h:1']}", ""),
        ("{hosts: ['h:1'], x: 1}", ""),
        ("{hosts: 'h:1'}", ".hosts"),
        ("{hosts: {hosts: ['h:1']}}", ".hosts"),
        ("{hosts: [h]}", ".hosts[0]"),
    ],
)
def test_another_mapping_of_hosts_is_none(network: str, field: str) -> None:
    _, problems = check_plan(
        f"goal: g\nsteps:\n  - run_command: {{command: x, network: {network}}}\n".encode()
    )
    assert [(p.reason, p.field) for p in problems] == [
        (Reason.PLAN_INVALID, f"steps[0].run_command.network{field}")
    ]
