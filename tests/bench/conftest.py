"""Benchmarks use the integration tests' PostgreSQL."""

from tests.integration.conftest import (  # noqa: F401 - fixtures
    fixture_database_url,
    postgres_server,
)
