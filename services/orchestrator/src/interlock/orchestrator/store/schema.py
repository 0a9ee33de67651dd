"""The tables, as SQLAlchemy Core metadata. `migrations/` builds the same; a test compares the two.

Ids are text in byte order (collation C), digests are 32 raw bytes unless a column says text, times are
timestamptz in UTC, money is micro-US-dollars. Only `journal` and `payloads` hold what cannot be derived
again: `runs` and `approvals` are what folding the journal gives, kept for the queries people make.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from interlock.orchestrator.store.schema_base import EMPTY as _EMPTY
from interlock.orchestrator.store.schema_base import Id as _Id
from interlock.orchestrator.store.schema_base import Time as _Time
from interlock.orchestrator.store.schema_base import metadata
from interlock.orchestrator.store.schema_proofs import anchored_heads, anchors, archives
from interlock.orchestrator.store.schema_spending import budgets, spending

__all__ = ["anchored_heads", "anchors", "archives", "budgets", "metadata", "spending"]

feed = Table(
    "feed",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False, comment="Position of the last event of all runs"),
    CheckConstraint("id = 1", name="one_row"),
    comment="One row: the sequencer of the feed. Its lock is held from the start of a flush to its commit.",
    postgresql_with={"autovacuum_vacuum_scale_factor": "0", "autovacuum_vacuum_threshold": "1000"},
)

runs = Table(
    "runs",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("state", Text, nullable=False),
    Column("workspace_id", _Id),
    Column("goal", Text, nullable=False),
    Column("labels", JSONB, nullable=False, server_default=_EMPTY),
    Column("doc", JSONB, nullable=False, server_default=_EMPTY, comment="Further facts fixed at creation"),
    Column("created_at", _Time, nullable=False),
    Column("updated_at", _Time, nullable=False),
    Column("seq", BigInteger, nullable=False, comment="Number of the last event"),
    Column("head_hash", LargeBinary, nullable=False, comment="Hash of the last event"),
    Column("position", BigInteger, nullable=False, comment="Feed position of the last event"),
    Column("epoch", BigInteger, nullable=False, server_default="0", comment="Fencing token of the lease"),
    Column("lease_owner", _Id, comment="The driver; see `drivers` for whether it is alive"),
    Column("needs_driver", Boolean, nullable=False, server_default=text("false")),
    Column("steps", Integer, nullable=False, server_default="0"),
    Column("steps_done", Integer, nullable=False, server_default="0"),
    Column("cost_micros", BigInteger, comment="Null where it is unknown"),
    Index("ix_runs_state_id", "state", "id"),
    Index("ix_runs_workspace_id_id", "workspace_id", "id"),
    Index("ix_runs_labels", "labels", postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}),
    Index("ix_runs_needs_driver", "id", postgresql_where=text("needs_driver")),
    Index("ix_runs_lease_owner", "lease_owner", postgresql_where=text("lease_owner IS NOT NULL")),
    comment="The head of each run: one row, updated by every flush that appends to it.",
    # Room in each page lets updates stay in place (HOT); none of the columns that change often is indexed.
    postgresql_with={"fillfactor": "70", "autovacuum_vacuum_scale_factor": "0.05"},
)

drivers = Table(
    "drivers",
    metadata,
    Column("owner", _Id, primary_key=True, comment="Unique per process and start"),
    Column("until", _Time, nullable=False, comment="Its leases hold until then (the database's clock)"),
    Column(
        "server",
        _Time,
        comment="Start of the server on which the owner holds its lock; null: time alone says if it lives",
    ),
    Column("turn", Boolean, nullable=False, server_default=text("false"), comment="Nobody's: see turns"),
    comment="One heartbeat per orchestrator renews all its leases.",
)

journal = Table(
    "journal",
    metadata,
    Column("run_id", _Id, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False, comment="1, 2, … within the run"),
    Column("position", BigInteger, nullable=False, comment="1, 2, … over all runs, in commit order"),
    Column("type", Text, nullable=False),
    Column("step", Integer, comment="Number of the step it is about, if any"),
    Column("at", _Time, nullable=False),
    Column("canonical", LargeBinary, nullable=False, comment="The event: canonical JSON, what is hashed"),
    Column("hash", LargeBinary, nullable=False, comment="Hash of this event, chained to the one before"),
    Index("uq_journal_position", "position", unique=True),
    Index(
        "ix_journal_undone",
        "run_id",
        postgresql_where=text("type IN ('run.rolled_back', 'run.overtaken', 'step.reverted')"),
    ),
    comment="Append-only: a trigger refuses update, delete and truncate.",
)

payloads = Table(
    "payloads",
    metadata,
    Column("digest", LargeBinary, primary_key=True, comment="SHA-256 of the body"),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("erased_run", _Id, comment="The run whose event"),
    Column("erased_seq", BigInteger, comment="with this seq erased it: the body is empty then"),
    comment="What events refer to by digest: prompts, replies, the output that people look at.",
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("run_id", _Id, nullable=False),
    Column("step", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("gate", Text, nullable=False),
    Column("digest", Text, nullable=False, comment="What a decision is bound to, sha256:<hex>"),
    Column("state", Text, nullable=False),
    Column("requested_at", _Time, nullable=False),
    Column("expires_at", _Time),
    Column("resolved_at", _Time),
    Column("subject", Text, nullable=False, server_default="", comment="Who decided it; empty while open"),
    Column("doc", JSONB, nullable=False, server_default=_EMPTY),
    CheckConstraint(
        "state IN ('pending', 'approved', 'rejected', 'skipped', 'edited', 'expired', 'cancelled', "
        "'superseded')",
        name="state",
    ),
    Index("ix_approvals_run_id_step", "run_id", "step"),
    Index("ix_approvals_pending", "id", postgresql_where=text("state = 'pending'")),
    Index(
        "ix_approvals_expiry",
        "expires_at",
        postgresql_where=text("state = 'pending' AND expires_at IS NOT NULL"),
    ),
)

requests = Table(
    "requests",
    metadata,
    Column("method", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False, comment="Digest of the request without its id"),
    Column("response", LargeBinary, nullable=False),
    Column("created_at", _Time, nullable=False, server_default=text("now()")),
    Index("ix_requests_created_at", "created_at"),
    comment="First results of mutations, for callers who repeat them.",
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("executor", Text, nullable=False),
    Column("location", Text, nullable=False),
    Column("head_tree", Text, nullable=False, comment="sha256:<hex>; empty while unknown"),
    Column("holder_run", _Id, comment="The run that may write to it"),
    Column("created_at", _Time, nullable=False, server_default=text("now()")),
    Column("doc", JSONB, nullable=False, server_default=_EMPTY),
    Index("ix_workspaces_holder_run", "holder_run", postgresql_where=text("holder_run IS NOT NULL")),
)

waiters = Table(
    "waiters",
    metadata,
    Column("run_id", _Id, primary_key=True, comment="Is to start when it is its turn"),
    Column("workspace_id", _Id, nullable=False),
    Column(
        "number", BigInteger, nullable=False, comment="Feed position of its asking: lower ones come first"
    ),
    Index("ix_waiters_workspace_id_number", "workspace_id", "number", unique=True),
    comment="Runs that wait until their workspace is free.",
)

installation = Table(
    "installation",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column(
        "secret", LargeBinary, nullable=False, comment="Keys that executors know drivers by derive from it"
    ),
    Column("created_at", _Time, nullable=False, server_default=text("now()")),
    CheckConstraint("id = 1", name="one_row"),
    CheckConstraint("octet_length(secret) = 32", name="secret"),
    comment="One row: what the orchestrators on this database share and tell nobody.",
)

access_tokens = Table(
    "access_tokens",
    metadata,
    Column("id", _Id, primary_key=True),
    Column(
        "digest", LargeBinary, nullable=False, comment="SHA-256 of the token's text, which is kept nowhere"
    ),
    Column("subject", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("scope", JSONB, nullable=False, server_default=_EMPTY, comment="Labels a workspace must have"),
    Column("note", Text, nullable=False, server_default=""),
    Column("request_id", Text, comment="What asked for it; null where the request had no id"),
    Column("created_by", Text, nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("expires_at", _Time, nullable=False),
    Column("revoked_at", _Time),
    Column("revoked_by", Text, nullable=False, server_default=""),
    Column("owner", Text, nullable=False, server_default="", comment="Whose agent the subject is"),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    Index("ix_access_tokens_request_id", "request_id", unique=True),
    Index("ix_access_tokens_subject_id", "subject", "id"),
    comment="Issued tokens. A row is never removed: decisions name it.",
)

access_denials = Table(
    "access_denials",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _Time, nullable=False),
    Column("subject", Text, nullable=False),
    Column("authentication", Text, nullable=False),
    Column("rpc", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("times", BigInteger, nullable=False),
    Index("ix_access_denials_subject_id", "subject", "id"),
    comment="Refused calls of known callers. Append-only.",
)

delegations = Table(
    "delegations",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("from_subject", Text, nullable=False, comment="Whose right to decide it is"),
    Column("to_subject", Text, nullable=False, comment="Who may use it"),
    Column(
        "scope",
        JSONB,
        nullable=False,
        server_default=_EMPTY,
        comment="Labels a workspace must have: those of whoever gave it, then",
    ),
    Column("note", Text, nullable=False, server_default=""),
    Column("authentication", Text, nullable=False, comment="How whoever gave it proved who they are"),
    Column("request_id", Text, comment="What asked for it; null where the request had no id"),
    Column("created_at", _Time, nullable=False),
    Column("expires_at", _Time, nullable=False),
    Column("revoked_at", _Time),
    Column("revoked_by", Text, nullable=False, server_default=""),
    Column("owner", Text, nullable=False, server_default="", comment="Whose agent gave it"),
    Index("ix_delegations_request_id", "request_id", unique=True),
    Index("ix_delegations_to_subject_id", "to_subject", "id"),
    comment="Right to decide that was given to others. A row is never removed: decisions name it.",
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("url", Text, nullable=False),
    Column("chosen", JSONB, nullable=False, comment="Which approvals and events, as the message says it"),
    Column("secret", LargeBinary, nullable=False, comment="What signs; no call returns it"),
    Column("note", Text, nullable=False, server_default=""),
    Column("request_id", Text, comment="What asked for it; null where the request had no id"),
    Column("created_by", Text, nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("position", BigInteger, nullable=False, comment="Up to there in the feed its deliveries are made"),
    Column(
        "sealed_with",
        Text,
        nullable=False,
        server_default="",
        comment="Name of the key that the secret is encrypted with; empty for none",
    ),
    Index("ix_webhooks_request_id", "request_id", unique=True),
    comment="Endpoints that are told what happens to approvals.",
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column(
        "id", _Id, primary_key=True, comment="Follows from endpoint and position: made twice it is the same"
    ),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    Column("webhook_id", _Id, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("run_id", _Id, nullable=False, comment="Deliveries of a run keep their order; empty for tests"),
    Column("position", BigInteger, nullable=False, comment="Of the event in the feed; 0 for tests"),
    Column("type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_status", Integer, nullable=False, server_default="0"),
    Column("last_error", Text, nullable=False, server_default=""),
    Column("created_at", _Time, nullable=False, server_default=text("now()")),
    Column("next_at", _Time, nullable=False, server_default=text("now()")),
    Column("settled_at", _Time),
    CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state"),
    Index("ix_webhook_deliveries_webhook_id_number", "webhook_id", "number"),
    Index(
        "ix_webhook_deliveries_pending",
        "webhook_id",
        "run_id",
        "number",
        postgresql_where=text("state = 'pending'"),
    ),
    Index(
        "ix_webhook_deliveries_settled_at",
        "settled_at",
        postgresql_where=text("settled_at IS NOT NULL"),
    ),
    comment="What was or is to be sent to endpoints.",
)

SQL_DIR: Final = Path(__file__).parent / "migrations" / "sql"
PROGRAMS: Final = (
    "0001_append_only.sql",
    "0004_flush.sql",
    "0005_denials.sql",
    "0009_anchors.sql",
    "0012_erasure.sql",
    "0013_archives.sql",
)
"""Functions and triggers: for each, the file of the migration that last changed it."""


def program(name: str) -> str:
    """The text of one of PROGRAMS, one or more statements."""
    return (SQL_DIR / name).read_text(encoding="utf-8")


def _ddl(sql: str) -> DDL:
    return DDL(sql.replace("%", "%%"))  # type: ignore[no-untyped-call]


event.listen(metadata, "after_create", _ddl("INSERT INTO feed (id, position) VALUES (1, 0)"))
for _name in PROGRAMS:
    event.listen(metadata, "after_create", _ddl(program(_name)))
