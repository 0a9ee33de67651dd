"""What someone who has reviewed one effect has not seen of the next one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.trees import Tree, write_tree

from interlock.executor.files.root import Root
from interlock.executor.snapshots.diff import Diff, DiffLimits
from interlock.executor.snapshots.model import Limits, Snapshot
from interlock.executor.snapshots.previews import Effect, differences
from interlock.executor.snapshots.scan import StatCache, scan
from interlock.executor.snapshots.store import Store

BASE: Tree = {
    b"a": ("f", 0o644, b"a\n"),
    b"b": ("f", 0o644, b"b\n"),
    b"d": ("d", 0o755),
    b"d/in": ("f", 0o644, b"in\n"),
}
LIMITS = DiffLimits()


class Trees:
    """Trees of a store, by their plain values."""

    def __init__(self, place: Path) -> None:
        self.place, self.count = place, 0
        self.store = Store(place / "store")

    def of(self, **changes: tuple[object, ...] | None) -> Snapshot:
        """BASE with changes; `_` in a name stands for `/`, None removes."""
        tree = dict(BASE)
        for name, value in changes.items():
            path = name.replace("_", "/").encode()
            for gone in [p for p in tree if value is None and (p + b"/").startswith(path + b"/")]:
                del tree[gone]
            if value is not None:
                tree[path] = value
        self.count += 1
        top = self.place / f"tree{self.count}"
        top.mkdir()
        write_tree(top, tree)
        with Root.open(top) as root:
            batch = self.store.batch()
            found = scan(root, batch, StatCache(), Limits()).snapshot
            batch.commit()
        return found


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(tmp_path)


def names(diff: Diff) -> set[str]:
    return {file.path for file in diff.files}


def text(content: str, mode: int = 0o644) -> tuple[object, ...]:
    return ("f", mode, content.encode())


def test_the_same_effect_on_other_files_leaves_nothing_to_see(trees: Trees) -> None:
    earlier = Effect(trees.of(), trees.of(a=text("ours\n")))
    later = Effect(trees.of(b=text("theirs\n")), trees.of(a=text("ours\n"), b=text("theirs\n")))
    found = differences(trees.store, earlier, later, LIMITS)
    assert [part.total for part in found] == [0, 0, 0]


def test_an_overlap_is_shown_from_both_sides_and_nothing_else(trees: Trees) -> None:
    earlier = Effect(trees.of(), trees.of(a=text("a\nours\n"), new=text("same\n")))
    later = Effect(
        trees.of(a=text("theirs\n"), b=text("b2\n")),
        trees.of(a=text("theirs\nours\n"), b=text("b2\n"), new=text("same\n")),
    )
    found = differences(trees.store, earlier, later, LIMITS)
    assert [names(part) for part in found] == [{"a"}, {"a"}, set()]
    assert b"+theirs" in found.workspace.patch
    assert b"+ours" in found.effect.patch


def test_what_the_later_one_leaves_alone(trees: Trees) -> None:
    earlier = Effect(trees.of(), trees.of(a=text("ours\n"), b=None))
    later = Effect(trees.of(a=text("theirs\n")), trees.of(a=text("theirs\n"), b=None))
    found = differences(trees.store, earlier, later, LIMITS)
    assert [names(part) for part in found] == [{"a"}, set(), {"a"}]


def test_a_mode_is_a_difference(trees: Trees) -> None:
    earlier = Effect(trees.of(), trees.of(a=text("ours\n")))
    later = Effect(trees.of(a=text("a\n", 0o755)), trees.of(a=text("ours\n", 0o755)))
    found = differences(trees.store, earlier, later, LIMITS)
    assert [names(part) for part in found] == [{"a"}, {"a"}, set()]


def test_a_file_that_appeared_in_a_directory_that_goes(trees: Trees) -> None:
    earlier = Effect(trees.of(), trees.of(d=None))
    later = Effect(trees.of(d_new=text("precious\n")), trees.of(d=None))
    found = differences(trees.store, earlier, later, LIMITS)
    assert [names(part) for part in found] == [{"d/new"}, {"d/new"}, set()]


def test_a_directory_on_the_way_that_was_changed_is_shown(trees: Trees) -> None:
    """The file is gone because the directory is a file now."""
    earlier = Effect(trees.of(), trees.of(d_in=text("ours\n")))
    there = trees.of(d=None)
    later = Effect(there, trees.of(d=None, other=text("x\n")))
    found = differences(trees.store, earlier, later, LIMITS)
    assert names(found.workspace) == {"d", "d/in"}
    assert names(found.effect) == {"other"}
    assert names(found.dropped) == {"d/in"}


def test_without_a_result_the_bases_are_compared_everywhere(trees: Trees) -> None:
    found = differences(trees.store, Effect(trees.of(), None), Effect(trees.of(b=text("2\n")), None), LIMITS)
    assert [names(part) for part in found] == [{"b"}, set(), set()]


def test_long_differences_are_cut(trees: Trees) -> None:
    limits = DiffLimits(total_bytes=200, file_bytes=200)
    earlier = Effect(trees.of(), trees.of(a=text("ours\n")))
    later = Effect(trees.of(a=text("theirs\n")), trees.of(a=text("long\n" * 1000)))
    assert differences(trees.store, earlier, later, limits).effect.truncated
