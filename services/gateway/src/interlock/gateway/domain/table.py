"""Which handler a method and path lead to."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Generic, TypeVar

from interlock.gateway.domain.template import Template, split_verb

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """What was found: the target, and the values of the path's variables by field path."""

    target: T
    variables: dict[str, str]
    template: str


class Table(Generic[T]):
    """Routes by HTTP method; the more specific template wins."""

    def __init__(self) -> None:
        self._routes: dict[str, list[tuple[Template, T]]] = defaultdict(list)

    def add(self, method: str, template: Template, target: T) -> None:
        """Raises ValueError when another route of the method takes the same paths."""
        routes = self._routes[method]
        if any(other.shape == template.shape for other, _ in routes):
            raise ValueError(f"{method} {template.text}: another route takes the same paths")
        routes.append((template, target))
        routes.sort(key=lambda route: route[0].weight)

    def find(self, method: str, raw_path: str) -> Match[T] | None:
        """The route of a path that is still percent-encoded."""
        for segments, verb in _readings(raw_path):
            for template, target in self._routes.get(method, ()):
                variables = template.match(segments, verb)
                if variables is not None:
                    return Match(target, variables, template.text)
        return None

    def methods(self, raw_path: str) -> list[str]:
        """With which methods the path could be asked."""
        return sorted(method for method in self._routes if self.find(method, raw_path))


def _readings(raw_path: str) -> list[tuple[list[str], str]]:
    """A colon in the last segment begins a verb, or else is part of the segment: both are tried."""
    path = raw_path.removeprefix("/")
    body, verb = split_verb(path)
    plain = (path.split("/"), "")
    return [(body.split("/"), verb), plain] if verb else [plain]
