from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.approval.convert import chosen
from interlock.approval.domain.changes import Change, Filter, Item, Kind, Place
from interlock.approval.domain.cursor import Cursor, decode
from interlock.approval.domain.log import Entry, Log
from interlock.approval.domain.view import View
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity
from interlock.common.paging import encode_cursor
from interlock.v1.approval_pb2 import ApprovalFilter

Make = Callable[..., Change]
ITEM = Item("apr-1", run_id="r", workspace_id="w", step_kind=4, labels={"a": "1", "b": "2"})


class TestFilter:
    @pytest.mark.parametrize(
        ("chosen", "matches"),
        [
            (Filter(), True),
            (Filter(run_id="r"), True),
            (Filter(run_id="x"), False),
            (Filter(workspace_id="w"), True),
            (Filter(workspace_id="x"), False),
            (Filter(step_kinds=frozenset({1, 4})), True),
            (Filter(step_kinds=frozenset({1})), False),
            (Filter(labels={"a": "1"}), True),
            (Filter(labels={"a": "1", "b": "2"}), True),
            (Filter(labels={"a": "2"}), False),
            (Filter(labels={"c": ""}), False),
            (Filter(run_id="r", step_kinds=frozenset({1})), False),
        ],
    )
    def test_every_set_field_narrows(self, chosen: Filter, matches: bool) -> None:
        assert chosen.matches(ITEM) is matches


class TestChosen:
    """A subscriber's filter, and the scope of its token."""

    ADA = Identity("ada", frozenset({"approver"}), {"team": "web"})
    WEB = replace(ITEM, workspace_labels={"team": "web", "env": "prod"})

    def test_labels_of_the_workspace_narrow_the_scope(self) -> None:
        assert chosen(ApprovalFilter(), self.ADA).matches(self.WEB)
        assert chosen(ApprovalFilter(workspace_labels={"env": "prod"}), self.ADA).matches(self.WEB)
        assert not chosen(ApprovalFilter(workspace_labels={"env": "test"}), self.ADA).matches(self.WEB)
        claimed = replace(self.WEB, labels={"env": "test"})
        assert not chosen(ApprovalFilter(workspace_labels={"env": "test"}), self.ADA).matches(claimed)

    def test_and_never_widen_it(self) -> None:
        with pytest.raises(InterlockError) as refused:
            chosen(ApprovalFilter(workspace_labels={"team": "core"}), self.ADA)
        assert refused.value.reason is Reason.PERMISSION_DENIED


class TestWhoMay:
    """What a person may approve, by their name, by the provider's groups, and as whose agent."""

    ASKED = replace(ITEM, stages=(frozenset({"provider:leads", "bob"}),), excluded=frozenset({"alice"}))
    ADA = Identity("ada", frozenset({"approver"}))

    @pytest.mark.parametrize(
        ("who", "may"),
        [
            (ADA, False),
            (replace(ADA, groups=frozenset({"leads"})), True),
            (replace(ADA, groups=frozenset({"sec"})), False),
            (replace(ADA, groups=frozenset({"leads"}), owner="Alice"), False),
            (replace(ADA, subject="bob"), True),
            (replace(ADA, subject="Bob"), False),
            (replace(ADA, subject="ALICE", groups=frozenset({"leads"})), False),
        ],
    )
    def test_who_may(self, who: Identity, may: bool) -> None:
        assert Filter(approver=who).matches(self.ASKED) is may

    def test_in_whose_place(self) -> None:
        bob = Place("bob")
        assert Filter(approver=self.ADA, places=(bob,)).matches(self.ASKED)
        assert not Filter(approver=self.ADA, places=(Place("bob", (("team", "web"),)),)).matches(self.ASKED)
        web = replace(self.ASKED, workspace_labels={"team": "web"})
        assert Filter(approver=self.ADA, places=(Place("bob", (("team", "web"),)),)).matches(web)
        assert not Filter(approver=self.ADA, places=(bob,)).matches(
            replace(self.ASKED, excluded=frozenset({"Bob"}))
        )
        assert Filter(approver=self.ADA, places=(bob,)).key != Filter(approver=self.ADA).key

    def test_others_are_told_other_things(self) -> None:
        keys = {Filter(approver=replace(self.ADA, groups=frozenset(g))).key for g in (["leads"], ["sec"], [])}
        keys.add(Filter(approver=replace(self.ADA, owner="alice")).key)
        assert len(keys) == 4


class TestCursor:
    @given(
        st.text(st.characters(codec="utf-8", min_codepoint=1), max_size=60),
        st.integers(0, 2**63 - 1),
        st.text("0123456789abcdef", max_size=12),
        st.none() | st.text("apr-0123456789", max_size=30),
    )
    def test_round_trip(self, upstream: str, position: int, generation: str, after: str | None) -> None:
        cursor = Cursor(upstream, position, generation, after)
        assert decode(cursor.encode()) == cursor

    @pytest.mark.parametrize("payload", [{}, {"u": "x"}, {"p": "1"}, {"u": "x", "p": "many"}])
    def test_wrong_content_is_a_typed_error(self, payload: dict[str, str]) -> None:
        with pytest.raises(InterlockError) as caught:
            decode(encode_cursor("Approval/Subscribe", payload))
        assert caught.value.reason is Reason.CURSOR_INVALID

    def test_another_streams_cursor(self) -> None:
        with pytest.raises(InterlockError):
            decode(encode_cursor("WatchRun", {"u": "x", "p": "1"}))


class TestView:
    def test_follows_the_feed(self, change: Make) -> None:
        view = View(10, 1000)
        view.apply(change(Kind.PENDING, 0, 2))
        view.apply(change(Kind.REQUESTED, 5, 1))
        view.apply(change(Kind.REQUESTED, 6, 3))
        view.apply(change(Kind.RESOLVED, 7, 2))
        view.apply(change(Kind.RESOLVED, 8, 99))
        assert [(c.kind, c.item.approval_id) for c in view.snapshot(8)] == [
            (Kind.PENDING, "apr-001"),
            (Kind.PENDING, "apr-003"),
        ]
        assert view.holds("apr-001")
        assert not view.holds("apr-002")

    def test_snapshot_of_an_earlier_place_leaves_out_what_came_later(self, change: Make) -> None:
        view = View(10, 1000)
        view.apply(change(Kind.PENDING, 0, 1))
        view.apply(change(Kind.REQUESTED, 5, 2))
        view.apply(change(Kind.REQUESTED, 9, 3))
        assert [c.item.approval_id for c in view.snapshot(5)] == ["apr-001", "apr-002"]
        assert [c.item.approval_id for c in view.snapshot(5, "apr-001")] == ["apr-002"]

    def test_repeated_request_keeps_its_first_place(self, change: Make) -> None:
        view = View(10, 1000)
        view.apply(change(Kind.PENDING, 0, 1))
        view.apply(change(Kind.REQUESTED, 5, 1))
        assert len(view.snapshot(0)) == 1

    def test_previews_are_given_up_beyond_the_bound(self, change: Make) -> None:
        view = View(10, 5000)
        view.apply(change(Kind.REQUESTED, 1, 1, size=4000))
        view.apply(change(Kind.REQUESTED, 2, 2, size=4000))
        first, second = view.snapshot(2)
        assert (first.full, second.full) == ("full 1", None)
        assert second.brief == "brief 2"
        view.apply(change(Kind.RESOLVED, 3, 1))
        view.apply(change(Kind.REQUESTED, 4, 3, size=3000))
        assert view.snapshot(4)[1].full == "full 3"

    def test_too_many_open_ones_make_it_incomplete(self, change: Make) -> None:
        view = View(2, 1000)
        for number in range(3):
            assert view.complete
            view.apply(change(Kind.REQUESTED, number, number))
        assert not view.complete
        assert len(view) == 2


class TestLog:
    def test_numbers_entries_and_forgets_the_oldest(self, change: Make) -> None:
        log = Log("base", 3, 1000)
        for position in range(10, 15):
            log.append([Entry(change(Kind.REQUESTED, position, position), "u")])
        assert (log.first, log.end) == (2, 5)
        assert [log[number].change.position for number in range(2, 5)] == [12, 13, 14]

    def test_entries_that_came_together_stay_together(self, change: Make) -> None:
        log = Log("base", 2, 3)
        log.append([Entry(change(Kind.REQUESTED, 1, 1), "u")])
        log.append([Entry(change(Kind.REQUESTED, n, n), "u") for n in range(2, 12)])
        assert (log.first, log.end) == (1, 11)
        log.append([Entry(change(Kind.REQUESTED, 12, 12), "u")])
        assert (log.first, log.end) == (10, 12)

    def test_is_bounded_by_size_but_keeps_the_newest(self, change: Make) -> None:
        log = Log("base", 100, 10)
        log.append([Entry(change(Kind.REQUESTED, 1, 1, size=6), "u")])
        log.append([Entry(change(Kind.REQUESTED, 2, 2, size=6), "u")])
        assert log.end - log.first == 1
        log.append([Entry(change(Kind.REQUESTED, 3, 3, size=600), "u")])
        assert [log[log.first].change.position, log.end - log.first] == [3, 1]

    def test_empty_log_reaches_back_to_its_base_only(self) -> None:
        log = Log("base", 10, 1000)
        assert log.locate(Cursor("base", 0), "now") == 0
        assert log.locate(Cursor("now", 7), "now") == 0
        assert log.locate(Cursor("older", 10**9), "now") is None

    def test_reaches_back_to_what_is_known_to_lie_before_its_first_entry(self, change: Make) -> None:
        log = Log("base", 10, 1000)
        for position in (20, 25):
            log.append([Entry(change(Kind.REQUESTED, position, position), "u")])
        assert log.locate(Cursor("older", 18), "now") is None
        assert log.locate(Cursor("older", 19), "now") == 0
        assert log.locate(Cursor("older", 20), "now") == 1
        assert log.locate(Cursor("older", 24), "now") == 1
        assert log.locate(Cursor("older", 25), "now") == 2

    def test_base_is_forgotten_with_the_first_entry(self, change: Make) -> None:
        log = Log("base", 1, 1000)
        log.append([Entry(change(Kind.REQUESTED, 20, 1), "u")])
        assert log.locate(Cursor("base", 0), "now") == 0
        log.append([Entry(change(Kind.REQUESTED, 25, 2), "u")])
        assert log.locate(Cursor("base", 0), "now") is None
        assert log.locate(Cursor("x", 20), "now") == 1

    def test_cursor_at_the_end_owes_nothing_whatever_its_position(self, change: Make) -> None:
        log = Log("base", 10, 1000)
        log.append([Entry(change(Kind.REQUESTED, 20, 1), "u")])
        assert log.locate(Cursor("now", 0), "now") == 1


class TestForMe:
    """A filter of what its subscriber may approve."""

    ADA = Identity("ada", frozenset({"approver"}))

    @pytest.mark.parametrize(
        ("who", "stages", "excluded", "wanted"),
        [
            (ADA, (), (), True),
            (Identity("ada", frozenset({"admin"})), (), (), True),
            (Identity("ada", frozenset({"viewer", "operator"})), (), (), False),
            (ADA, (), ("ada",), False),
            (ADA, (), ("bob",), True),
            (ADA, ({"bob"},), (), False),
            (ADA, ({"bob"}, {"ada", "eve"}), (), True),
            (ADA, ({"bob"}, set()), (), True),
            (ADA, ({"ada"},), ("ada",), False),
        ],
    )
    def test_role_stages_and_separation(
        self, who: Identity, stages: tuple[set[str], ...], excluded: tuple[str, ...], wanted: bool
    ) -> None:
        named = tuple(frozenset(stage) for stage in stages)
        item = Item("apr-1", stages=named, excluded=frozenset(excluded))
        assert Filter(approver=who).matches(item) is wanted
        assert Filter().matches(item)

    def test_filters_of_different_people_are_different(self) -> None:
        bob = Identity("bob", frozenset({"approver"}))
        keys = {Filter(approver=self.ADA).key, Filter(approver=bob).key, Filter().key}
        assert len(keys) == 3
        assert Filter(labels={"a": "b"}, step_kinds=frozenset({1})).key == (
            Filter(labels={"a": "b"}, step_kinds=frozenset({1})).key
        )


@pytest.mark.parametrize("kind", list(Kind))
def test_only_an_end_closes_an_approval(kind: Kind, change: Make) -> None:
    view = View(10, 1000)
    view.apply(change(Kind.REQUESTED, 1, 1))
    view.apply(change(kind, 2, 1))
    assert view.holds("apr-001") is (kind not in (Kind.RESOLVED, Kind.REPLACED, Kind.APPLIED))
