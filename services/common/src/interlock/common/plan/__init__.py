"""The plan document: the one format that people, models, the command line and the services share.

A plan is YAML (1.2 core schema) or JSON with a goal, optional policy, budget and labels, and steps, each one
key naming its kind::

    goal: add a retry helper
    budget: 0.50
    steps:
      - read_file: {path: src/a.py}
      - run_command: {command: python -m pytest -q}
        gate: command

``parse_plan`` turns a document into frozen dataclasses or raises one precise :class:`InterlockError`;
``check_plan`` lists every problem; ``plan_from_data`` does the same for plain Python data; ``dump_yaml`` and
``to_data`` go back. The published JSON Schema (``plan_schema``) is made from the same table as the parser.
"""

from interlock.common.plan.dump import dump_json, dump_yaml, to_data
from interlock.common.plan.limits import MAX_DOCUMENT_BYTES, MAX_STEPS
from interlock.common.plan.model import (
    AnalyzeInput,
    EditFileInput,
    Gate,
    OnFailure,
    Plan,
    PlanBudget,
    PlanPolicy,
    PlanRule,
    PlanStage,
    PlanStep,
    ReadFileInput,
    RunCommandInput,
    StepInput,
    StepKind,
    SummarizeInput,
)
from interlock.common.plan.parse import check_plan, parse_plan, plan_from_data, problems_in_data
from interlock.common.plan.problems import Problem
from interlock.common.plan.schema import plan_schema

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "MAX_STEPS",
    "AnalyzeInput",
    "EditFileInput",
    "Gate",
    "OnFailure",
    "Plan",
    "PlanBudget",
    "PlanPolicy",
    "PlanRule",
    "PlanStage",
    "PlanStep",
    "Problem",
    "ReadFileInput",
    "RunCommandInput",
    "StepInput",
    "StepKind",
    "SummarizeInput",
    "check_plan",
    "dump_json",
    "dump_yaml",
    "parse_plan",
    "plan_from_data",
    "plan_schema",
    "problems_in_data",
    "to_data",
]
