"""The link between a fork's journal and its parent's, checked offline: every way of bending it is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.journals import CHILD, RUN, Journal, bundle, digest, history_of, real

from interlock.orchestrator.domain.chain import parse_time, seal
from interlock.verify.bundle import verify_bundle, verify_family, verify_file

Data = dict[str, Any]


def rewritten(journal: Journal, change: Callable[[int, str, Data], None]) -> list[bytes]:
    """A bundle in which some events say something else, chained anew with the same care."""
    head, out = "sha256:" + "0" * 64, []
    for sealed in journal.sealed:
        event = json.loads(sealed.canonical)
        change(event["seq"], event["type"], event["data"])
        new = seal(
            event["run_id"],
            event["seq"],
            head,
            parse_time(event["at"]),
            event["type"],
            event["step"],
            event["data"],
        )
        out.append(new.canonical)
        head = new.digest
    return bundle(journal.run.run_id, out, head)


def found(child: list[bytes], *parents: list[bytes]) -> list[str]:
    return real(verify_family(child, parents).problems)


@pytest.mark.parametrize("at_step", [0, 1, 2])
def test_a_true_link_holds(at_step: int) -> None:
    parent = history_of()
    child = parent.forked(at_step)
    parent.look(3, "2")  # what happens later does not matter
    report = verify_family(child.bundle(), [parent.bundle()])
    assert real(report.problems) == []
    assert report.linked == [RUN]
    assert report.origin is not None
    assert (report.origin.run_id, report.origin.at_step) == (RUN, at_step)


def test_a_childs_bundle_names_its_parent_by_itself() -> None:
    report = verify_bundle(history_of().forked(2).bundle())
    assert real(report.problems) == []
    assert report.origin is not None
    assert (report.origin.seq, report.origin.tree, report.linked) == (15, digest("2"), [])


def test_three_generations() -> None:
    parent = history_of()
    child = parent.forked(1)
    child.start()
    child.edit(2, "1", "9")
    grand = child.forked(2, "run-grand")
    assert found(grand.bundle(), child.bundle(), parent.bundle()) == []
    assert "not of run-parent" in str(found(grand.bundle(), parent.bundle()))


def test_another_run_is_not_the_parent() -> None:
    other = Journal("run-other")
    assert "it is a fork of run-parent, not of run-other" in str(
        found(history_of().forked(1).bundle(), other.bundle())
    )
    assert "it is no fork" in str(found(history_of().bundle(), other.bundle()))


def bend_fork(**fields: Any) -> Callable[[int, str, Data], None]:
    def change(seq: int, kind: str, data: Data) -> None:
        if kind == "run.created":
            data["fork"].update(fields)

    return change


def bend_step(**fields: Any) -> Callable[[int, str, Data], None]:
    def change(seq: int, kind: str, data: Data) -> None:
        if kind == "run.steps_inherited":
            data["steps"][1].update(fields)

    return change


def drop_step(seq: int, kind: str, data: Data) -> None:
    if kind == "run.steps_inherited":
        del data["steps"][1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (bend_fork(head=digest("5")), "is not the one it names"),
        (bend_fork(seq=14), "is not the one it names"),
        (bend_fork(seq=999), "is not the one it names"),
        (bend_fork(tree=digest("1")), "was at sha256:2222"),
        (bend_fork(run_id="run-other"), "a fork of run-other, not of run-parent"),
        (bend_fork(at_step=3), "says that it inherits 3 steps; there are 2"),
        (bend_step(state="FAILED"), "inherited step 2 is not as it was in run-parent: state"),
        (bend_step(attempt=2), "inherited step 2 is not as it was in run-parent: attempt"),
        (bend_step(reply_payload=digest("a")), "reply_payload"),
        (bend_step(spec={"kind": "read_file", "input": {"path": "x"}}), "spec"),
        (bend_step(prepared={}), "prepared"),
        (drop_step, "says that it inherits 2 steps; there are 1"),
    ],
    ids=[
        "head",
        "seq",
        "beyond",
        "tree",
        "run",
        "count",
        "state",
        "attempt",
        "reply",
        "spec",
        "effect",
        "drop",
    ],
)
def test_a_child_that_lies_is_found(change: Callable[[int, str, Data], None], said: str) -> None:
    parent = history_of()
    child = rewritten(parent.forked(2), change)
    assert said in str(found(child, parent.bundle()))


def test_a_parent_that_was_rewritten_is_found() -> None:
    parent = history_of()

    def other_goal(seq: int, kind: str, data: Data) -> None:
        if kind == "run.created":
            data["goal"] = "another"

    lying = rewritten(parent, other_goal)
    assert real(verify_bundle(lying).problems) == []
    assert "event 15 of run-parent is not the one it names" in str(found(parent.forked(2).bundle(), lying))


def test_a_damaged_parent_is_a_finding_of_the_whole() -> None:
    parent = history_of()
    cut = parent.bundle()[:-3]
    assert "run-parent bundle: the end line is missing" in str(found(parent.forked(1).bundle(), cut))


def test_files(tmp_path: Path) -> None:
    parent = history_of()
    names = tmp_path / "child", tmp_path / "parent"
    names[0].write_bytes(b"".join(parent.forked(2).bundle()))
    names[1].write_bytes(b"".join(parent.bundle()))
    report = verify_file(names[0], "", [names[1]])
    assert (real(report.problems), report.run_id, report.linked) == ([], CHILD, [RUN])
