"""The first tables: runs, journal, payloads, approvals, requests, workspaces, drivers, feed.

There is no way down: history is append-only, and restoring an older release means restoring a backup.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

_SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    _runs()
    _journal()
    _approvals()
    _requests()
    _workspaces()
    op.execute("INSERT INTO feed (id, position) VALUES (1, 0)")
    for name in ("0001_append_only.sql", "0001_flush.sql"):
        op.get_bind().exec_driver_sql((_SQL / name).read_text(encoding="utf-8").replace("%", "%%"))


def _id(name: str, nullable: bool = False, comment: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text(collation="C"), nullable=nullable, comment=comment)


def _time(
    name: str, nullable: bool = False, now: bool = False, comment: str | None = None
) -> sa.Column[object]:
    default = sa.text("now()") if now else None
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=nullable, server_default=default, comment=comment
    )


def _json(name: str, comment: str | None = None) -> sa.Column[object]:
    return sa.Column(name, JSONB, nullable=False, server_default=sa.text("'{}'::jsonb"), comment=comment)


def _int(name: str, nullable: bool = False, comment: str | None = None) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, comment=comment)


def _bytes(name: str, comment: str | None = None) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False, comment=comment)


def _text(name: str, comment: str | None = None, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, comment=comment, server_default=default)


def _runs() -> None:
    op.create_table(
        "runs",
        _id("id"),
        _text("state"),
        _id("workspace_id", nullable=True),
        _text("goal"),
        _json("labels"),
        _json("doc", "Further facts fixed at creation"),
        _time("created_at"),
        _time("updated_at"),
        _int("seq", comment="Number of the last event"),
        _bytes("head_hash", "Hash of the last event"),
        _int("position", comment="Feed position of the last event"),
        sa.Column(
            "epoch",
            sa.BigInteger,
            nullable=False,
            server_default="0",
            comment="Fencing token of the lease",
        ),
        _id("lease_owner", nullable=True, comment="The driver; see `drivers` for whether it is alive"),
        sa.Column("needs_driver", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("steps", sa.Integer, nullable=False, server_default="0"),
        sa.Column("steps_done", sa.Integer, nullable=False, server_default="0"),
        _int("cost_micros", nullable=True, comment="Null where it is unknown"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        comment="The head of each run: one row, updated by every flush that appends to it.",
        postgresql_with={"fillfactor": "70", "autovacuum_vacuum_scale_factor": "0.05"},
    )
    op.create_index("ix_runs_state_id", "runs", ["state", "id"])
    op.create_index("ix_runs_workspace_id_id", "runs", ["workspace_id", "id"])
    op.create_index(
        "ix_runs_labels",
        "runs",
        ["labels"],
        postgresql_using="gin",
        postgresql_ops={"labels": "jsonb_path_ops"},
    )
    op.create_index("ix_runs_needs_driver", "runs", ["id"], postgresql_where=sa.text("needs_driver"))
    op.create_index(
        "ix_runs_lease_owner", "runs", ["lease_owner"], postgresql_where=sa.text("lease_owner IS NOT NULL")
    )
    op.create_table(
        "drivers",
        _id("owner", comment="Unique per process and start"),
        _time("until", comment="Its leases hold until then (the database's clock)"),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_drivers")),
        comment="One heartbeat per orchestrator renews all its leases.",
    )


def _journal() -> None:
    op.create_table(
        "feed",
        sa.Column("id", sa.SmallInteger, autoincrement=False, nullable=False),
        _int("position", comment="Position of the last event of all runs"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed")),
        sa.CheckConstraint("id = 1", name=op.f("ck_feed_one_row")),
        comment="One row: the sequencer of the feed. Its lock is held from the start of a flush to its commit.",
        postgresql_with={"autovacuum_vacuum_scale_factor": "0", "autovacuum_vacuum_threshold": "1000"},
    )
    op.create_table(
        "journal",
        _id("run_id"),
        sa.Column(
            "seq", sa.BigInteger, autoincrement=False, nullable=False, comment="1, 2, … within the run"
        ),
        _int("position", comment="1, 2, … over all runs, in commit order"),
        _text("type"),
        sa.Column("step", sa.Integer, comment="Number of the step it is about, if any"),
        _time("at"),
        _bytes("canonical", "The event: canonical JSON, what is hashed"),
        _bytes("hash", "Hash of this event, chained to the one before"),
        sa.PrimaryKeyConstraint("run_id", "seq", name=op.f("pk_journal")),
        comment="Append-only: a trigger refuses update, delete and truncate.",
    )
    op.create_index("uq_journal_position", "journal", ["position"], unique=True)
    op.create_table(
        "payloads",
        _bytes("digest", "SHA-256 of the body"),
        _text("media_type"),
        _int("size"),
        _bytes("body"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_payloads")),
        comment="What events refer to by digest: prompts, replies, the output that people look at.",
    )


def _approvals() -> None:
    op.create_table(
        "approvals",
        _id("id"),
        _id("run_id"),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        _text("gate"),
        _text("digest", "What a decision is bound to, sha256:<hex>"),
        _text("state"),
        _time("requested_at"),
        _time("expires_at", nullable=True),
        _time("resolved_at", nullable=True),
        _text("subject", "Who decided it; empty while open", default=""),
        _json("doc"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals")),
        sa.CheckConstraint(
            "state IN ('pending', 'approved', 'rejected', 'skipped', 'edited', 'expired', 'cancelled')",
            name=op.f("ck_approvals_state"),
        ),
    )
    op.create_index("ix_approvals_run_id_step", "approvals", ["run_id", "step"])
    op.create_index(
        "ix_approvals_pending", "approvals", ["id"], postgresql_where=sa.text("state = 'pending'")
    )
    op.create_index(
        "ix_approvals_expiry",
        "approvals",
        ["expires_at"],
        postgresql_where=sa.text("state = 'pending' AND expires_at IS NOT NULL"),
    )


def _requests() -> None:
    op.create_table(
        "requests",
        _text("method"),
        _text("request_id"),
        _bytes("fingerprint", "Digest of the request without its id"),
        _bytes("response"),
        _time("created_at", now=True),
        sa.PrimaryKeyConstraint("method", "request_id", name=op.f("pk_requests")),
        comment="First results of mutations, for callers who repeat them.",
    )
    op.create_index("ix_requests_created_at", "requests", ["created_at"])


def _workspaces() -> None:
    op.create_table(
        "workspaces",
        _id("id"),
        _text("executor"),
        _text("location"),
        _text("head_tree", "sha256:<hex>; empty while unknown"),
        _id("holder_run", nullable=True, comment="The run that may write to it"),
        _time("created_at", now=True),
        _json("doc"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
    )
    op.create_index(
        "ix_workspaces_holder_run",
        "workspaces",
        ["holder_run"],
        postgresql_where=sa.text("holder_run IS NOT NULL"),
    )
