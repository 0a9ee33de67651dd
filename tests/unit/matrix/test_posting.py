"""Which messages a feed leads to, whenever the bot ends and starts again.

The homeserver and the services are doubles here; `make test-matrix` has real ones.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from interlock.matrix import render
from interlock.matrix.deciding import Deciding
from interlock.matrix.homeserver import Homeserver
from interlock.matrix.posting import Posting
from interlock.matrix.settings import Person, Room
from interlock.matrix.state import Message, opened
from interlock.v1.access_pb2 import Caller
from interlock.v1.approval_pb2 import SubscribeResponse
from interlock.v1.decision_pb2 import ApprovalEvent, ApprovalEventKind, ApprovalRecord, ApprovalState

ROOM, ME, ADA = "!room:test", "@bot:test", "@ada:test"


class Ended(Exception):
    """The process is killed here."""


class Rooms:
    """A homeserver that knows its transactions, and can be left before its answer arrives."""

    def __init__(self) -> None:
        self.sent: dict[str, dict[str, Any]] = {}
        self.leave_after = -1

    def __call__(self, request: httpx.Request) -> httpx.Response:
        transaction = request.url.path.rpartition("/")[2]
        self.sent.setdefault(transaction, json.loads(request.content))
        if len(self.sent) == self.leave_after:
            raise Ended
        return httpx.Response(200, json={"event_id": f"${transaction}"})

    def posts(self) -> list[dict[str, Any]]:
        return [each for each in self.sent.values() if render.MARK in each]

    def edits(self) -> list[str]:
        return [each["m.new_content"]["body"] for each in self.sent.values() if "m.new_content" in each]

    def remarks(self) -> list[str]:
        return [each["body"] for each in self.sent.values() if each.get("msgtype") == "m.notice"]


class Services:
    """What is told once, what approvals are now, and what was decided, by request id."""

    def __init__(self) -> None:
        self.approvals: dict[str, ApprovalRecord] = {}
        self.feed: list[SubscribeResponse] = []
        self.decided: dict[str, tuple[str, str, str]] = {}
        self.asked_from: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    async def get_approval(self, approval_id: str) -> ApprovalRecord:
        return self.approvals[approval_id]

    async def subscribe_approvals(
        self, *, cursor: str, with_preview: bool
    ) -> AsyncIterator[SubscribeResponse]:
        assert not with_preview
        self.asked_from.append(cursor)
        for message in self.feed:
            yield message
        raise Ended

    async def who_am_i(self) -> Caller:
        return Caller(subject="ada")

    async def decide(
        self,
        shown: ApprovalRecord,
        verdict: str,
        comment: str,
        *,
        on_reject: str,
        channel: str,
        request_id: str,
    ) -> None:
        assert channel == "matrix"
        said = verdict if on_reject == "fail" else f"{verdict} and {on_reject}"
        self.decided.setdefault(request_id, (shown.digest, said, comment))

    def is_now(self, approval_id: str, state: str = "PENDING", **changes: Any) -> ApprovalRecord:
        number = ApprovalState.Value(f"APPROVAL_STATE_{state}")
        self.approvals[approval_id] = ApprovalRecord(
            approval_id=approval_id,
            run_id="run-1",
            step=1,
            digest=f"sha256:{approval_id}",
            state=number,
            **changes,
        )
        return self.approvals[approval_id]

    def tells(self, approval_id: str, kind: str, **more: Any) -> None:
        number = ApprovalEventKind.Value(f"APPROVAL_EVENT_KIND_{kind}")
        event = ApprovalEvent(kind=number, approval=self.approvals[approval_id])
        self.feed.append(SubscribeResponse(event=event, cursor=f"c{len(self.feed) + 1}", **more))


class World:
    """Both, and a file between the lives of a bot."""

    def __init__(self, place: Path) -> None:
        self.room = Room(ROOM)
        self.rooms, self.services, self._file = Rooms(), Services(), place / "state.db"

    async def live(self, *events: dict[str, Any]) -> None:
        """A bot starts, reads these events of the room, follows the feed, and is killed."""
        transport = httpx.MockTransport(self.rooms)
        async with httpx.AsyncClient(base_url="https://matrix.test", transport=transport) as http:
            with opened(self._file, ME) as state:
                homeserver = Homeserver(http)
                rooms: Any = {ROOM: self.room}
                services: Any = self.services
                posting = Posting(homeserver, state, rooms, lambda: services)
                people = {ADA: Person(ADA, "ada", "token")}
                deciding = Deciding(homeserver, state, posting, ME, people, rooms, lambda _: services)
                with suppress(Ended):
                    await posting.finish()
                    for event in events:
                        await deciding.handle(ROOM, event)
                    await posting.run()

    def messages(self) -> list[Message]:
        with opened(self._file, ME) as state:
            return state.open_ones()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_every_moment_of_death_leads_to_one_message(world: World) -> None:
    """One message, two reactions, one edit, wherever the answer to the n-th call is lost."""
    world.services.is_now("apr-1")
    world.services.tells("apr-1", "REQUESTED")
    world.services.is_now("apr-1", votes=[{"subject": "ada"}])
    world.services.tells("apr-1", "VOTED")
    for moment in (1, 2, 3, 4, -1):
        world.rooms.leave_after = moment
        await world.live()
    assert len(world.rooms.posts()) == 1
    reactions = [each["m.relates_to"]["key"] for each in world.rooms.sent.values() if len(each) == 1]
    assert reactions == ["✅", "❌"]
    assert len(world.rooms.edits()) == 1
    assert [each.shown for each in world.messages()] == ["PENDING/1"]


async def test_the_feed_goes_on_where_it_was(world: World) -> None:
    world.services.is_now("apr-1")
    world.services.tells("apr-1", "PENDING")
    await world.live()
    world.services.feed = []
    await world.live()
    assert world.services.asked_from == ["", "c1"]


async def test_what_was_decided_before_anybody_could_be_asked_is_not_asked(world: World) -> None:
    world.services.is_now("apr-1")
    world.services.tells("apr-1", "REQUESTED")
    world.services.is_now("apr-1", "REJECTED")
    world.services.tells("apr-1", "RESOLVED")
    await world.live()
    assert world.rooms.sent == {}


async def test_a_feed_that_starts_over_closes_what_ended_meanwhile(world: World) -> None:
    world.services.is_now("apr-1")
    world.services.tells("apr-1", "REQUESTED")
    await world.live()
    world.services.is_now("apr-2")
    world.services.feed = []
    world.services.tells("apr-2", "PENDING", reset=True)
    started = world.services.get_approval
    looked: list[str] = []

    async def look(approval_id: str) -> ApprovalRecord:
        looked.append(approval_id)
        if len(looked) > 1:  # after the start, and before the snapshot
            world.services.is_now("apr-1", "EXPIRED")
        return await started(approval_id)

    world.services.get_approval = look  # type: ignore[method-assign]
    await world.live()
    assert len(world.rooms.posts()) == 2
    assert ["EXPIRED" in text for text in world.rooms.edits()] == [True]
    assert [each.approval_id for each in world.messages()] == ["apr-2"]


async def test_a_replaced_preview_closes_its_message_and_opens_another(world: World) -> None:
    world.services.is_now("apr-1")
    world.services.tells("apr-1", "REQUESTED")
    await world.live()
    world.services.is_now("apr-1", "SUPERSEDED")
    world.services.feed = []
    world.services.tells("apr-1", "REPLACED")
    await world.live()
    world.services.is_now("apr-1", "SUPERSEDED", superseded_by="apr-2")
    world.services.is_now("apr-2", replaces="apr-1")
    world.services.feed = []
    world.services.tells("apr-2", "REQUESTED")
    await world.live()
    assert "by apr-2" in world.rooms.edits()[-1]
    assert [each.approval_id for each in world.messages()] == ["apr-2"]


def press(sender: str = ADA, event_id: str = "$press", **changes: Any) -> dict[str, Any]:
    (target,) = changes.pop("target")
    relation = {"rel_type": "m.annotation", "event_id": target, "key": "✅"}
    return {
        "type": "m.reaction",
        "event_id": event_id,
        "sender": sender,
        "content": {"m.relates_to": relation},
    }


async def test_an_answer_read_twice_counts_once(world: World) -> None:
    world.services.is_now("apr-1")
    world.services.tells("apr-1", "REQUESTED")
    await world.live()
    target = [each.event_id for each in world.messages()]
    for _ in range(2):
        await world.live(press(target=target), press("@eve:test", "$other", target=target))
    assert list(world.services.decided.values()) == [("sha256:apr-1", "approve", "")]


async def test_replan_rejects_and_edit_decides_nothing(world: World) -> None:
    world.services.is_now("apr-1")
    world.services.tells("apr-1", "REQUESTED")
    await world.live()
    target = world.messages()[0].event_id
    relation = {"m.in_reply_to": {"event_id": target}}
    for number, body in enumerate(("edit it", "replan use the helper")):
        content = {"msgtype": "m.text", "body": body, "m.relates_to": relation}
        said = {"type": "m.room.message", "event_id": f"$r{number}", "sender": ADA, "content": content}
        await world.live(said)
    assert list(world.services.decided.values()) == [("sha256:apr-1", "reject and replan", "use the helper")]
    (remark,) = world.rooms.remarks()
    assert "interlock approvals edit apr-1" in str(remark)


async def test_only_the_state_of_a_room_makes_it_encrypted(world: World) -> None:
    world.services.is_now("apr-1")
    world.services.tells("apr-1", "REQUESTED")
    await world.live()
    target = [each.event_id for each in world.messages()]
    encryption = {"type": "m.room.encryption", "event_id": "$e", "sender": "@eve:test", "content": {}}
    await world.live({**encryption, "state_key": ""}, press(target=target))
    assert world.services.decided == {}
    assert len(world.rooms.remarks()) == 1
    await world.live(encryption, press(target=target))
    assert len(world.services.decided) == 1


async def test_a_room_is_trusted_by_what_a_runs_creator_does_not_choose(world: World) -> None:
    world.room = Room(ROOM, workspace_labels={"team": "pay"})
    for name, of_run, of_workspace in (("apr-1", "pay", "other"), ("apr-2", "other", "pay")):
        world.services.is_now(name, labels={"team": of_run}, workspace_labels={"team": of_workspace})
        world.services.tells(name, "REQUESTED")
    await world.live()
    assert [each.approval_id for each in world.messages()] == ["apr-2"]
    assert len(world.rooms.posts()) == 1


async def test_a_runs_labels_choose_too(world: World) -> None:
    world.room = Room(ROOM, {"app": "a"})
    for name in "ab":
        world.services.is_now(f"apr-{name}", labels={"app": name})
        world.services.tells(f"apr-{name}", "REQUESTED")
    await world.live()
    assert [each.approval_id for each in world.messages()] == ["apr-a"]
