"""What the tree will be like when a step of a plan comes, held against really carrying the plan out."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.common.plan import Plan, PlanStep, StepKind
from interlock.common.plan.model import (
    AnalyzeInput,
    EditFileInput,
    ReadFileInput,
    RunCommandInput,
    SummarizeInput,
)
from interlock.planner.domain.limits import problems, told
from interlock.planner.domain.meaning import check_meaning
from interlock.planner.domain.model import ContextFile, Limits, PlanTask

FILES = {"a.py": "one\ntwo\nthree\n", "src/b.py": "x\n", "src/deep/c.py": "c\n"}


def step(chosen: object) -> PlanStep:
    kind = {
        ReadFileInput: StepKind.READ_FILE, EditFileInput: StepKind.EDIT_FILE, RunCommandInput: StepKind.RUN_COMMAND,
        AnalyzeInput: StepKind.ANALYZE, SummarizeInput: StepKind.SUMMARIZE,
    }[type(chosen)]  # fmt: skip
    return PlanStep(kind=kind, input=chosen)  # type: ignore[arg-type]


def found(*chosen: object, limits: Limits = Limits(), files: dict[str, str] = FILES) -> list[str]:
    task = PlanTask(
        "g", tuple(ContextFile(path, len(text.encode()), text) for path, text in files.items()), limits=limits
    )
    plan = Plan("g", tuple(step(each) for each in chosen))
    return [f"{problem.reason.value} {problem.field}" for problem in check_meaning(plan, task)]


def diff(path: str, before: str | None, after: str | None) -> str:
    names = [
        f"a/{path}" if before is not None else "/dev/null",
        f"b/{path}" if after is not None else "/dev/null",
    ]
    lines = difflib.unified_diff(
        (before or "").splitlines(keepends=True), (after or "").splitlines(keepends=True), *names
    )
    return "".join(lines)


def patch(path: str, before: str | None, after: str | None) -> EditFileInput:
    return EditFileInput(path, patch=diff(path, before, after))


def test_a_patch_is_applied_to_the_tree_as_it_will_be_then() -> None:
    first = patch("a.py", FILES["a.py"], "one\n2\nthree\n")
    second = patch("a.py", "one\n2\nthree\n", "one\n2\n3\n")
    assert found(first, second) == []
    assert found(second) == ["PATCH_DOES_NOT_APPLY steps[0].edit_file.patch"]
    assert found(first, first) == ["PATCH_DOES_NOT_APPLY steps[1].edit_file.patch"]
    assert found(EditFileInput("a.py", new_content="new\n"), patch("a.py", "new\n", "newer\n")) == []
    assert found(EditFileInput("a.py", new_content="new\n"), first) == [
        "PATCH_DOES_NOT_APPLY steps[1].edit_file.patch"
    ]


def test_what_cannot_be_known_is_not_complained_about() -> None:
    wrong = patch("a.py", "nothing like it\n", "x\n")
    assert found(EditFileInput("a.py", instruction="change it"), wrong) == []
    assert found(RunCommandInput(command="make"), wrong, ReadFileInput("made.txt")) == []
    cut = {"a.py": FILES["a.py"]}
    task = PlanTask("g", (ContextFile("a.py", 9_999, cut["a.py"]),))
    assert check_meaning(Plan("g", (step(wrong),)), task) == []


@pytest.mark.parametrize(
    ("chosen", "problem"),
    [
        (ReadFileInput("src"), "PATH_IS_DIRECTORY steps[0].read_file.path"),
        (ReadFileInput("src/none.py"), "PATH_NOT_FOUND steps[0].read_file.path"),
        (EditFileInput("src/deep", new_content=""), "PATH_IS_DIRECTORY steps[0].edit_file.path"),
        (EditFileInput("a.py/below", new_content=""), "PATH_NOT_REGULAR steps[0].edit_file.path"),
        (patch("none.py", "a\n", "b\n"), "PATH_NOT_FOUND steps[0].edit_file.path"),
        (patch("a.py", None, "b\n"), "PATCH_DOES_NOT_APPLY steps[0].edit_file.patch"),
        (EditFileInput("a.py", patch="no diff"), "PATCH_INVALID steps[0].edit_file.patch"),
        (patch("src/b.py", FILES["src/b.py"], None), ""),
        (EditFileInput("new/deeper/d.py", new_content=""), ""),
    ],
)
def test_paths_are_what_a_step_needs(chosen: object, problem: str) -> None:
    assert found(chosen) == ([problem] if problem else [])


def test_a_file_that_an_earlier_step_removes_or_makes() -> None:
    gone, made = patch("a.py", FILES["a.py"], None), patch("n.py", None, "n\n")
    assert found(gone, ReadFileInput("a.py")) == ["PATH_NOT_FOUND steps[1].read_file.path"]
    assert found(made, ReadFileInput("n.py"), patch("n.py", "n\n", "m\n")) == []
    assert found(ReadFileInput("n.py"), made) == ["PATH_NOT_FOUND steps[0].read_file.path"]


edits = st.tuples(st.sampled_from(["a.py", "src/b.py", "n.py"]), st.sampled_from(["", "p\n", "p\nq\n", None]))


@settings(max_examples=150, deadline=None)
@given(st.lists(edits, min_size=1, max_size=6), st.data())
def test_patches_of_one_another_pass_and_a_patch_of_something_else_does_not(
    changes: list[tuple[str, str | None]], data: st.DataObject
) -> None:
    tree: dict[str, str] = dict(FILES)
    chosen: list[EditFileInput] = []
    for path, after in changes:
        before = tree.get(path)
        if before == after or (not before and not after):
            continue
        chosen.append(patch(path, before, after))
        tree.pop(path, None)
        if after is not None:
            tree[path] = after
    assert found(*chosen) == []
    at = data.draw(st.integers(0, len(chosen)))
    wrong = patch("a.py", "never there\n", "x\n")
    (problem,) = found(*chosen[:at], wrong)
    assert problem.endswith((f"steps[{at}].edit_file.patch", f"steps[{at}].edit_file.path"))


def test_calls_and_cost_stay_within_what_is_left() -> None:
    asks = [AnalyzeInput("why"), EditFileInput("a.py", instruction="x"), SummarizeInput("")]
    assert found(*asks, limits=Limits(model_calls=3)) == []
    assert found(*asks, limits=Limits(model_calls=2)) == ["RUN_BUDGET_REACHED steps"]
    assert found(*asks, limits=Limits(cost_micros=299, call_micros=100)) == ["RUN_BUDGET_REACHED steps"]
    assert found(*asks, limits=Limits(cost_micros=300, call_micros=100)) == []
    assert found(*asks, limits=Limits(cost_micros=0)) == []
    assert (
        found(ReadFileInput("a.py"), EditFileInput("a.py", new_content=""), limits=Limits(model_calls=0))
        == []
    )


def test_the_model_is_told_the_limits_and_what_was_wrong() -> None:
    task = PlanTask("g", limits=Limits(4, 500, 20), problems=("step 1 is denied\nby a rule",))
    assert "4 steps" in told(task)
    assert "500 micro-dollars in all, at about 20 each" in told(task)
    assert problems(task) == "Your last plan was not taken:\n- step 1 is denied by a rule\n"
    assert told(PlanTask("g")) == problems(PlanTask("g")) == ""
