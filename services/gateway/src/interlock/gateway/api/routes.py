"""The routes of all rpcs that have an HTTP rule."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.gateway.api.methods import Binding, Method
from interlock.gateway.domain.table import Table

Route = tuple[Method, Binding]


def table(methods: Iterable[Method]) -> Table[Route]:
    """Raises ValueError when two rpcs take the same paths."""
    routes: Table[Route] = Table()
    for method in methods:
        for binding in method.bindings:
            routes.add(binding.verb, binding.template, (method, binding))
    return routes
