"""Versioned prompts, one text file each (``plan/v1`` is ``plan.v1.txt``). A published version never changes.

A file has a system part and, after a line ``--- user ---``, a user part with ``$name`` places.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

_DIVIDER = "\n--- user ---\n"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt with its id."""

    id: str
    system: str
    user: Template

    def fill(self, **values: str) -> str:
        """The user part with every place filled; a missing value is a KeyError (a defect, found by tests)."""
        return self.user.substitute(values)


@cache
def load(prompt_id: str) -> Prompt:
    """The prompt with an id such as ``plan/v1``."""
    name, _, version = prompt_id.partition("/")
    text = files(__package__).joinpath(f"{name}.{version}.txt").read_text("utf-8")
    system, _, user = text.partition(_DIVIDER)
    return Prompt(prompt_id, system.strip(), Template(user.strip()))
