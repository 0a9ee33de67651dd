"""Tables that prove what the others say. Docs: `schema`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, text

from interlock.orchestrator.store.schema_base import Id, Time, metadata

anchors = Table(
    "anchors",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False, comment="1, 2, …"),
    Column("at", Time, nullable=False),
    Column("position", BigInteger, nullable=False, comment="Up to there in the feed it covers the runs"),
    Column("heads", Integer, nullable=False, comment="How many runs had changed since the one before"),
    Column("root", LargeBinary, nullable=False, comment="Of the Merkle tree (RFC 6962) over their heads"),
    Column("statement", LargeBinary, nullable=False, comment="Canonical JSON: what is signed"),
    Column("key_id", Text, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    comment="Append-only: signed statements about the heads of all runs.",
)

anchored_heads = Table(
    "anchored_heads",
    metadata,
    Column("anchor", BigInteger, primary_key=True, autoincrement=False),
    Column("leaf", Integer, primary_key=True, autoincrement=False, comment="0, 1, … in the anchor's tree"),
    Column("run_id", Id, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Index("ix_anchored_heads_run_id_anchor", "run_id", "anchor"),
    comment="Append-only: the leaves of the anchors' trees.",
)

archives = Table(
    "archives",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("seq", BigInteger, nullable=False, comment="Number of the last event"),
    Column("head", LargeBinary, nullable=False, comment="Its hash"),
    Column("bundle", LargeBinary, nullable=False, comment="SHA-256 of the bundle that the journal went into"),
    Column("place", Text, nullable=False, comment="Where whoever archived it has put it"),
    Column("at", Time, nullable=False, server_default=text("now()")),
    Column("by", Text, nullable=False),
    comment="Append-only: runs whose events are not in the journal any more.",
)
