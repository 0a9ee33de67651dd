"""docs/rest.md, line by line, against a real gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.installation import Installation
from tests.support.pages import Page


@pytest.fixture(scope="module")
def page(up: Installation) -> Page:
    return Page("rest.md", up)


def answers(page: Page, heading: str) -> list[Any]:
    return [json.loads(line) for line in page.said(heading).splitlines() if line.startswith("{")]


def test_every_section_is_looked_at_here(page: Page) -> None:
    assert page.headings[1:] == [
        "A directory to work on", "Create a run", "Add steps", "Execute the next step", "Look at a run", "Approve",
        "Skip", "What it cost", "Plan", "When it fails",
    ]  # fmt: skip


def test_a_run_is_created(page: Page) -> None:
    (run,) = answers(page, "Create a run")
    assert (run["goal"], run["status"], run["steps"]) == ("Be polite", "created", [])
    assert run["id"].startswith("run-")
    assert run["labels"] == {"team": "manners"}
    assert run["workspace_path"].endswith("/greeting")


def test_steps_are_added(page: Page) -> None:
    steps = answers(page, "Add steps")
    assert [(step["id"], step["step_type"], step["status"], step["requires_approval"]) for step in steps] == [
        ("step-1", "read_file", "pending", False),
        ("step-2", "edit_file", "pending", True),
        ("step-3", "run_command", "pending", True),
        ("step-4", "run_command", "pending", True),
    ]
    assert steps[2]["input"] == {"command": "wc -w hello.txt", "working_dir": "."}


def test_steps_are_executed_one_by_one(page: Page) -> None:
    read, edit = answers(page, "Execute the next step")
    assert (read["step"]["status"], read["step"]["result"]["content"]) == ("succeeded", "Hello.\n")
    assert (read["awaiting_approval"], read["all_complete"]) == (False, False)
    assert (edit["step"]["status"], edit["status"]) == ("awaiting_approval", "awaiting_approval")
    assert (edit["awaiting_approval"], edit["all_complete"]) == (True, False)
    assert "+Good morning." in edit["step"]["result"]["diff"]


def test_what_waits_is_shown_with_its_digest(page: Page) -> None:
    (run,) = answers(page, "Look at a run")
    assert [step["status"] for step in run["steps"]] == [
        "succeeded",
        "awaiting_approval",
        "pending",
        "pending",
    ]
    assert run["steps"][1]["digest"] == answers(page, "Execute the next step")[1]["step"]["digest"]


def test_what_was_shown_is_approved_and_takes_effect(page: Page) -> None:
    edit, waiting, command = answers(page, "Approve")
    shown = answers(page, "Execute the next step")[1]["step"]["digest"]
    assert (edit["status"], edit["digest"]) == ("succeeded", shown)
    assert "Good morning.\n" in page.said("Approve")
    assert waiting["step"]["result"]["argv"][-1] == "wc -w hello.txt"
    assert (command["status"], command["digest"]) == ("succeeded", waiting["step"]["digest"])
    assert (command["result"]["stdout"], command["result"]["exit_code"]) == ("2 hello.txt\n", 0)


def test_what_is_skipped_does_not_happen(page: Page) -> None:
    waiting, skipped, end = answers(page, "Skip")
    assert waiting["awaiting_approval"]
    assert skipped["status"] == "skipped"
    assert (end["status"], end["all_complete"], end["awaiting_approval"]) == ("completed", True, False)


def test_what_it_cost(page: Page) -> None:
    (cost,) = answers(page, "What it cost")
    assert cost == {
        "total_cost": 0.0, "total_tokens": {"prompt": 0, "completion": 0}, "steps": [], "unpriced_calls": 0
    }  # fmt: skip


def test_a_plan(page: Page) -> None:
    (plan,) = answers(page, "Plan")
    kinds = {"read_file", "analyze", "edit_file", "run_command", "summarize"}
    assert plan["steps"]
    assert {step["step_type"] for step in plan["steps"]} <= kinds


def test_failures_are_problems(page: Page) -> None:
    unknown, kind = answers(page, "When it fails")
    assert (unknown["status"], unknown["reason"]) == (404, "RUN_NOT_FOUND")
    assert (kind["status"], kind["reason"], kind["field"]) == (400, "STEP_KIND_UNKNOWN", "step_type")
