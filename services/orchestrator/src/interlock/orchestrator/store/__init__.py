"""PostgreSQL: schema, migrations, the journal's flusher, leases, readers and the feed."""
