"""GetPolicy: what is in force."""

from __future__ import annotations

from interlock.common.plan.wire import rule_message
from interlock.common.policy.model import PolicyDocument
from interlock.orchestrator.convert import views
from interlock.orchestrator.deps import Deps
from interlock.v1 import policy_pb2, rules_pb2


async def get_policy(deps: Deps, message: rules_pb2.GetPolicyRequest) -> rules_pb2.GetPolicyResponse:
    """The installation's policy and, where one is named, a run's own."""
    installed = deps.policies.installed
    response = rules_pb2.GetPolicyResponse(
        installation=document(installed) if installed is not None else None, digest=deps.policies.digest
    )
    if message.run_id:
        run = await deps.book.refresh(message.run_id)
        response.run.CopyFrom(views.policy(run.policy))
        response.digest = deps.policies.digest_for(run.policy)
    return response


def document(known: PolicyDocument) -> rules_pb2.PolicyDocument:
    """A policy as people see it, without its examples."""
    return rules_pb2.PolicyDocument(
        ref=rules_pb2.PolicyRef(name=known.name, version=known.version, digest=known.digest),
        description=known.description,
        rules=[rule_message(rule) for rule in known.rules],
        groups=[
            policy_pb2.ApprovalGroup(name=name, subjects=people) for name, people in known.groups.items()
        ],
        source=known.source,
    )
