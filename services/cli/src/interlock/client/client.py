"""The client: every call in one object."""

from __future__ import annotations

from interlock.client.access import AccessCalls
from interlock.client.approvals import ApprovalCalls
from interlock.client.envelopes import EnvelopeCalls
from interlock.client.exports import ExportCalls
from interlock.client.forks import ForkCalls
from interlock.client.planning import PlanningCalls
from interlock.client.policies import PolicyCalls
from interlock.client.watching import WatchCalls
from interlock.client.webhooks import WebhookCalls


class Client(
    WatchCalls,
    ApprovalCalls,
    EnvelopeCalls,
    ForkCalls,
    ExportCalls,
    PlanningCalls,
    PolicyCalls,
    AccessCalls,
    WebhookCalls,
):
    """Talks to the Interlock services. Use it as an asynchronous context manager::

        async with Client() as client:
            workspace = await client.open_directory("/src/project")
            run = await client.create_run("tidy up", workspace.workspace_id, steps, start=True)
            async for message in client.watch_run(run.run_id):
                ...

    Arguments: see `Connection`. Answers are the messages of `interlock.v1`; failures are `InterlockError` with a
    documented reason. One client may be used by many tasks of one event loop.
    """
