"""What a plan has to keep to, in words for the model: gates, rules, money. It is told, and checked afterwards."""

from __future__ import annotations

from interlock.common.plan import PlanPolicy
from interlock.planner.domain.context import cut_line
from interlock.planner.domain.model import PlanTask

_MOST_RULES = 30
_MOST_PROBLEMS = 12


def told(task: PlanTask) -> str:
    """Lines about gates, what rules deny and ask about, and what is left to spend; empty when nothing is limited."""
    lines = [*_gates(task.policy), *_rules(task.policy)]
    limits = task.limits
    if limits.model_calls is not None:
        lines.append(
            f"At most {limits.model_calls} steps may ask a model (analyze, summarize, edits by instruction)."
        )
    if limits.cost_micros is not None:
        each = f", at about {limits.call_micros} each" if limits.call_micros else ""
        lines.append(f"Calls of models may cost {limits.cost_micros} micro-dollars in all{each}.")
    return "\n".join(lines)


def problems(task: PlanTask) -> str:
    """Why the answers before were not taken; empty when there were none."""
    if not task.problems:
        return ""
    listed = "\n".join(f"- {cut_line(each, 500)}" for each in task.problems[:_MOST_PROBLEMS])
    return f"Your last plan was not taken:\n{listed}\n"


def _gates(policy: PlanPolicy | None) -> list[str]:
    if policy is None:
        return []
    chosen = (("edit_file", policy.edit_file_gate), ("run_command", policy.run_command_gate))
    gates = [f"{kind} steps wait for approval at: {gate.value}" for kind, gate in chosen if gate is not None]
    return [f"Policy: {'; '.join(gates)}."] if gates else []


def _rules(policy: PlanPolicy | None) -> list[str]:
    denied = [rule for rule in policy.rules if rule.effect == "deny"] if policy else []
    return [
        f"A rule denies ({cut_line(rule.name, 80)}): {cut_line(rule.reason or rule.when, 300)}"
        for rule in denied[:_MOST_RULES]
    ]
