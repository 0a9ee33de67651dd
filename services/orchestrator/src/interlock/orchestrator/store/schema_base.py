"""What all tables have in common."""

from __future__ import annotations

from sqlalchemy import DateTime, MetaData, Text, text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    }
)

Id = Text(collation="C")
Time = DateTime(timezone=True)
EMPTY = text("'{}'::jsonb")
