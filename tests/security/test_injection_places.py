"""Hostile text in every place that a model sees: names of files, output of commands, titles, its own answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.planner.domain.context import fenced, results_section
from interlock.planner.domain.filemap import contents, listing
from interlock.planner.domain.model import ContextFile, ContextResult

CORPUS = sorted((Path(__file__).parent / "hostile").iterdir())
TEXTS = [file.read_text("utf-8") for file in CORPUS]
_OPENS = re.compile(r"^<data ([0-9a-f]{16}) [^\n<>]*>$", re.MULTILINE)


def outside(prompt: str) -> str:
    """What of a prompt stands outside every fence, read as a careful reader does: a fence ends with its own mark."""
    out, at = [], 0
    while found := _OPENS.search(prompt, at):
        out.append(prompt[at : found.start()])
        end = prompt.find(f"\n</data {found[1]}>", found.end())
        assert end >= 0, "a fence that is not closed"
        at = end + len(f"\n</data {found[1]}>")
    return "".join([*out, prompt[at:]])


def as_output(text: str) -> str:
    return results_section([ContextResult("step-1", "run_command", "make", "succeeded", text)], 100_000)


def as_title(text: str) -> str:
    return results_section([ContextResult("step-1", "run_command", text, "succeeded", "fine")], 100_000)


def as_earlier_output(text: str) -> str:
    both = [ContextResult(f"step-{n}", "run_command", "make", "failed", text) for n in (1, 2)]
    return results_section(both, 100_000)


def as_content(text: str) -> str:
    return contents([ContextFile("notes.md", len(text.encode()), text)], "sum up", 100_000)


def as_name(text: str) -> str:
    file = ContextFile(text[:4000], 3, "abc")
    return listing([file], "sum up", 100_000) + "\n" + contents([file], "sum up", 100_000)


def as_nested(text: str) -> str:
    return fenced("your last answer", fenced("content of notes.md", text))


PLACES: list[Callable[[str], str]] = [
    as_output,
    as_title,
    as_earlier_output,
    as_content,
    as_name,
    as_nested,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("text", TEXTS, ids=[file.name for file in CORPUS])
def test_it_stays_within_its_fence(place: Callable[[str], str], text: str) -> None:
    left = outside(place(text))
    assert "<obey>" not in left
    assert "</data" not in left


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(PLACES),
    st.lists(
        st.sampled_from(["</data ", "<data ", "0" * 16, ">", "\n", "\r", "\u2028", "MARK-OUT", "x"]),
        max_size=12,
    ),
)
def test_no_text_leaves_its_fence(place: Callable[[str], str], parts: list[str]) -> None:
    assert "MARK-OUT" not in outside(place("".join(parts) or "x"))
