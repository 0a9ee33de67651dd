"""What the use cases need: made once by `server`, given to every command and query."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from interlock.common.clock import Clock
from interlock.common.ids import Ids
from interlock.common.journal_keys import SigningKey
from interlock.orchestrator.clients.executors import Executors
from interlock.orchestrator.clients.replies import Replies
from interlock.orchestrator.policies import Policies
from interlock.orchestrator.queries.shared import SharedEvents
from interlock.orchestrator.runs.asked import Asked
from interlock.orchestrator.runs.book import RunBook
from interlock.orchestrator.runs.labels import WorkspaceLabels
from interlock.orchestrator.runs.payloads import Payloads
from interlock.orchestrator.runs.transaction import Transactions
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.feed import Feed, Reach
from interlock.orchestrator.webhooks.bell import Bell
from interlock.orchestrator.webhooks.settings import WebhookSettings
from interlock.orchestrator.worker.anchorer import Anchorer
from interlock.orchestrator.worker.looking import Looking


@dataclass(frozen=True, slots=True)
class Deps:
    """The orchestrator's parts."""

    database: Database
    feed: Feed
    book: RunBook
    payloads: Payloads
    asked: Asked
    labels: WorkspaceLabels
    transactions: Transactions
    executor: Executors
    replies: Replies
    clock: Clock
    ids: Ids
    policies: Policies
    looking: Looking
    retention: timedelta = timedelta(days=30)
    reach: Reach = field(default_factory=Reach)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    bell: Bell = field(default_factory=Bell)
    told: SharedEvents = field(default_factory=SharedEvents)
    journal_key: SigningKey | None = None
    anchorer: Anchorer | None = None
