"""`interlock policy` where it needs no service: mistakes with their place, examples, and texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from interlock.cli.main import app

POLICY = """
name: team
rules:
  - {name: no, effect: deny, when: 'observed.deleted.size() > 0'}
examples:
  - {name: gone, observed: {changes: [{path: a, kind: deleted}]}, expect: deny, rule: no}
  - {name: wrong, step: {kind: run_command}, expect: deny}
"""


def interlock(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "team.yaml"
    path.write_text(POLICY)
    return path


def test_a_good_policy_passes(file: Path) -> None:
    done = interlock("policy", "check", str(file))
    assert (done.exit_code, done.stdout[:33]) == (0, "Valid: team, 1 rule, 2 examples, ")
    told = json.loads(interlock("policy", "check", str(file), "-o", "json").stdout)
    assert (told["valid"], told["problems"]) == (True, [])
    assert told["digest"].startswith("sha256:")


def test_every_mistake_is_listed(file: Path) -> None:
    file.write_text(POLICY.replace("observed.deleted", "observed.gone") + "what: 1\n")
    done = interlock("policy", "check", str(file))
    assert done.exit_code == 2
    assert "what: is not a field here" in done.stderr
    assert f"{file}: line 4, column 45: rules[0].when: the rule 'no': undefined field 'gone'" in done.stderr
    told = json.loads(interlock("policy", "check", str(file), "-o", "json").stdout)
    assert {(each["line"], each["column"]) for each in told["problems"]} == {(8, 7), (4, 45)}


def test_examples_are_tried(file: Path) -> None:
    done = interlock("policy", "test", str(file))
    assert done.exit_code == 1
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["ok", "FAILED"]
    assert "2 examples, 1 failed." in done.stderr
    told = json.loads(interlock("policy", "test", str(file), "-o", "json").stdout)
    assert [each["verdict"] for each in told["examples"]] == ["deny", "default"]
    file.write_text(POLICY.rpartition("  - {name: wrong")[0])
    assert interlock("policy", "test", str(file)).exit_code == 0


@pytest.mark.parametrize("name", ["cautious", "balanced", "autonomous"])
def test_shipped_policies_are_printed_as_they_can_be_used(name: str, tmp_path: Path) -> None:
    text = interlock("policy", "show", name).stdout
    (tmp_path / "mine.yaml").write_text(text)
    assert interlock("policy", "test", str(tmp_path / "mine.yaml")).exit_code == 0
    told = json.loads(interlock("policy", "show", name, "-o", "json").stdout)
    assert (told["name"], told["text"]) == (name, text)


def test_nothing_starts_with_a_policy_that_cannot_be_used(file: Path, tmp_path: Path) -> None:
    file.write_text("name: x\nrules: [{name: a, effect: deny, when: nope}]\n")
    for policy, said in (
        (str(file), "undeclared reference to 'nope'"),
        ("nobodys", "no policy that is shipped"),
    ):
        done = interlock("up", "--policy", policy, "--data-dir", str(tmp_path / "data"))
        assert done.exit_code != 0
        assert said in done.output
    assert not (tmp_path / "data").exists()


def test_a_plan_is_checked_with_its_rules(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    rule = "{name: a, effect: deny, when: step.nope}"
    head = f"goal: g\npolicy:\n  include: [balanced]\n  rules:\n    - {rule}\n"
    text = head + "steps: [{run_command: {command: x}}]\n"
    plan.write_text(text)
    done = interlock("plan", "validate", str(plan))
    assert done.exit_code == 2
    assert "line 5, column 41: policy.rules[0].when: the rule 'a': undefined field 'nope'" in done.stderr
    plan.write_text(text.replace("step.nope", "step.number > 7"))
    assert interlock("plan", "validate", str(plan)).exit_code == 0
    plan.write_text(text.replace("policy:\n  include: [balanced]", "policy: nobodys\nother:"))
    assert (
        "policy: is 'nobodys'; must be one of cautious, balanced, autonomous"
        in interlock("plan", "validate", str(plan)).stderr
    )
