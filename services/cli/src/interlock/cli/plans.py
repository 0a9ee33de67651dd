"""Plan files, held against everything that making a run of them would hold them against."""

from __future__ import annotations

from pathlib import Path

from interlock.client import Plan, run_request
from interlock.common.errors import InterlockError, Reason
from interlock.common.interceptors.validation import validate
from interlock.common.plan import Problem, check_plan

_ANY_WORKSPACE = "ws-00000000000000000000000000"


def check_for_run(document: bytes) -> tuple[Plan | None, tuple[Problem, ...]]:
    """The plan, or None and what `CreateRun` would refuse in it: the document's own rules, then the message's.

    What depends on the services (whether the workspace is there and free) is not looked at.
    """
    plan, problems = check_plan(document, for_run=True)
    if plan is None:
        return None, problems
    try:
        request = run_request(plan, _ANY_WORKSPACE, start=True)
        request.request_id = "plan-validate"
        validate(request)
        wrong = _rules(plan)
    except InterlockError as error:
        return None, tuple(_problems(error))
    return (None, wrong) if wrong else (plan, ())


def write_plan(path: str, text: str) -> None:
    """Write a plan file. Raises INVALID_ARGUMENT when it cannot be written."""
    try:
        Path(path).expanduser().write_text(text, "utf-8")
    except OSError as error:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"Cannot write {path}: {error.strerror}.",
            field="out",
            fix="Choose another place.",
        ) from None


def _rules(plan: Plan) -> tuple[Problem, ...]:
    """What is wrong with the rules of the plan's policy. Raises POLICY_INVALID."""
    policy = plan.policy
    if policy is None or not (policy.rules or policy.include):
        return ()
    from interlock.common.policy.document import check_rules
    from interlock.common.policy.named import with_included

    rules = with_included(policy.include, policy.rules)
    return check_rules(rules, policy.groups, "policy.rules")


def _problems(error: InterlockError) -> list[Problem]:
    if not error.violations:
        return [Problem(error.reason, error.field, error.message.rstrip("."), error.fix)]
    return [Problem(error.reason, _as_written(v.field), v.description) for v in error.violations]


def _as_written(field: str) -> str:
    """A message's path as the plan file has it: `steps[0].input.run_command.argv` is `steps[0].run_command.argv`."""
    return field.replace("].input.", "].")
