"""The Matrix bot between a real homeserver and real services."""

from __future__ import annotations

import pytest
from tests.support.installation import wait_until
from tests.support.matrix_room import Chat
from tests.support.working import ended, pending, state, until

from interlock.v1.decision_pb2 import ApprovalState, RejectAction

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]
YES, NO = "✅", "❌"


async def test_a_reaction_approves(chat: Chat) -> None:
    async with chat.up.client() as client:
        asked, project = await chat.ask(client)
        post = chat.room.post(asked.approval_id)
        assert asked.digest in post["content"]["body"]
        assert "+new" in post["content"]["formatted_body"]
        assert (project / "a.py").read_text() == "old\n"
        chat.ada.react(chat.id, post["event_id"], YES)
        done = await ended(client, await client.get_run(asked.run_id))
        decided = await client.get_approval(asked.approval_id)
    assert state(done) == "COMPLETED"
    assert (project / "a.py").read_text() == "new\n"
    assert (decided.decision.subject, decided.decision.channel) == ("ada@example.org", "matrix")
    assert decided.decision.authentication.startswith("token:tok-")
    assert (decided.decision.digest, decided.decision.comment) == (asked.digest, "")
    chat.room.edited(post["event_id"], "APPROVED by ada@example.org through matrix")


async def test_a_reply_rejects_with_its_words(chat: Chat) -> None:
    async with chat.up.client() as client:
        asked, project = await chat.ask(client)
        post = chat.room.post(asked.approval_id)
        chat.bob.reply(chat.id, post["event_id"], "nice, but let us talk about it first")
        chat.bob.reply(chat.id, post["event_id"], "reject not on a Friday @room")
        done = await ended(client, await client.get_run(asked.run_id))
        decided = await client.get_approval(asked.approval_id)
    assert state(done) == "FAILED"
    assert (project / "a.py").read_text() == "old\n"
    assert (decided.decision.subject, decided.decision.comment) == (
        "bob@example.org",
        "not on a Friday @room",
    )
    chat.room.edited(post["event_id"], "REJECTED by bob@example.org through matrix: not on a Friday ＠room")


async def test_a_reply_has_it_planned_anew(chat: Chat) -> None:
    async with chat.up.client() as client:
        asked, project = await chat.ask(client)
        post = chat.room.post(asked.approval_id)
        wish = chat.bob.reply(chat.id, post["event_id"], "edit the name, please")
        remark = chat.room.remark(wish)
        assert f"interlock approvals edit {asked.approval_id}" in remark
        assert f"https://console.example/#/pending/{asked.approval_id}" in remark
        assert (await client.get_approval(asked.approval_id)).state == ApprovalState.APPROVAL_STATE_PENDING
        chat.bob.reply(chat.id, post["event_id"], "replan use the helper that exists")
        chat.room.edited(post["event_id"], "REJECTED by bob@example.org through matrix: use the helper")
        decided = await client.get_approval(asked.approval_id)
        await client.cancel_run(asked.run_id)
    assert decided.decision.reject.action == RejectAction.REJECT_ACTION_REPLAN
    assert decided.decision.comment == "use the helper that exists"
    assert (project / "a.py").read_text() == "old\n"


async def test_the_bot_offers_both_reactions_and_does_not_count_its_own(chat: Chat) -> None:
    async with chat.up.client() as client:
        asked, _ = await chat.ask(client)
        post = chat.room.post(asked.approval_id)

        def offered() -> bool:
            said = chat.ada.events(chat.id, chat.bot.account.user)
            relations = [
                each["content"].get("m.relates_to", {}) for each in said if each["type"] == "m.reaction"
            ]
            return {each["key"] for each in relations if each["event_id"] == post["event_id"]} == {YES, NO}

        wait_until(offered)
        later = chat.ada.reply(chat.id, post["event_id"], "aprove")  # read after the bot's own reactions
        assert "I did not understand" in chat.room.remark(later)
        assert (await client.get_approval(asked.approval_id)).state == asked.state
        await client.decide(asked, "reject")


async def test_somebody_else_decides(chat: Chat) -> None:
    async with chat.up.client() as client:
        asked, _ = await chat.ask(client)
        post = chat.room.post(asked.approval_id)
        await client.decide(asked, "reject", "<b>no</b>\u202e", channel="cli")
        chat.room.edited(post["event_id"], "through cli: <b>no</b>\\u202e")
        late = chat.ada.react(chat.id, post["event_id"], YES)
        assert "APPROVAL_ALREADY_DECIDED" in chat.room.remark(late)
        assert (await client.get_approval(asked.approval_id)).decision.channel == "cli"


async def test_an_unmapped_person_is_refused_once(chat: Chat) -> None:
    async with chat.up.client() as client:
        asked, _ = await chat.ask(client)
        post = chat.room.post(asked.approval_id)
        first = chat.eve.react(chat.id, post["event_id"], YES)
        assert "not mapped" in chat.room.remark(first)
        second = chat.eve.reply(chat.id, post["event_id"], "approve")
        chat.ada.react(chat.id, post["event_id"], NO)  # read after eve's
        await ended(client, await client.get_run(asked.run_id))
        decided = await client.get_approval(asked.approval_id)
    assert decided.decision.subject == "ada@example.org"
    assert not [each for each in chat.ada.events(chat.id) if second in str(each["content"])]


async def test_a_replaced_preview_is_asked_anew_and_the_old_message_counts_no_more(chat: Chat) -> None:
    async with chat.up.client() as client:
        asked, project = await chat.ask(
            client, "{run_command: {command: 'echo ours >> a.py'}}", head="policy: {run_command_gate: effect}"
        )
        old = chat.room.post(asked.approval_id)
        (project / "a.py").write_text("theirs\n")
        chat.ada.react(chat.id, old["event_id"], YES)
        chat.room.edited(old["event_id"], "Replaced by apr-")
        again = await pending(client, await client.get_run(asked.run_id))
        assert again.approval_id != asked.approval_id
        new = chat.room.post(again.approval_id)
        assert "PREVIEW REPLACED" in new["content"]["body"]
        late = chat.ada.react(chat.id, old["event_id"], "✅\ufe0f")
        assert "this did not count" in chat.room.remark(late)
        assert (project / "a.py").read_text() == "theirs\n"
        chat.bob.reply(chat.id, new["event_id"], "approve both are fine")
        await ended(client, await client.get_run(asked.run_id))
    assert (project / "a.py").read_text() == "theirs\nours\n"


async def test_two_votes_are_shown_as_they_come(chat: Chat) -> None:
    head = 'policy: {stages: [{name: team, quorum: 2, approvers: ["ada@example.org", "bob@example.org"]}]}'
    async with chat.up.client() as client:
        asked, _ = await chat.ask(client, head=head)
        post = chat.room.post(asked.approval_id)
        chat.ada.react(chat.id, post["event_id"], YES)
        chat.room.edited(post["event_id"], "1 of 2 needed")
        chat.bob.react(chat.id, post["event_id"], YES)
        assert state(await ended(client, await client.get_run(asked.run_id))) == "COMPLETED"
        chat.room.edited(post["event_id"], "APPROVED")


async def test_hostile_content_stays_text(chat: Chat) -> None:
    evil = '{edit_file: {path: "@room<img src=x>.md", new_content: "</code></pre><h1>@room\\u202e\\u200b"}}'
    async with chat.up.client() as client:
        asked, _ = await chat.ask(client, evil)
        content = chat.room.post(asked.approval_id)["content"]
        await client.decide(asked, "reject")
    assert content["m.mentions"] == {}
    assert "@room" not in content["body"]
    rich = content["formatted_body"]
    assert "<img" not in rich
    assert "<h1" not in rich
    assert rich.count("</code></pre>") == 1
    assert "\\u202e\\u200b" in rich
    assert not {"\u202e", "\u200b"} & set(rich + content["body"])


async def test_a_killed_bot_posts_nothing_twice_and_forgets_no_decision(chat: Chat) -> None:
    async with chat.up.client() as client:
        answered, _ = await chat.ask(client)
        closed, _ = await chat.ask(client)
        posts = {each.approval_id: chat.room.post(each.approval_id) for each in (answered, closed)}
        chat.bot.kill()
        chat.ada.reply(chat.id, posts[answered.approval_id]["event_id"], "approve while you were away")
        await client.decide(closed, "reject", "by hand")
        new, _ = await chat.ask(client)
        gone, _ = await chat.ask(client)
        await client.decide(gone, "reject")
        chat.bot.start()
        chat.room.post(new.approval_id)
        chat.room.edited(posts[closed.approval_id]["event_id"], "by hand")
        await ended(client, await client.get_run(answered.run_id))
        decided = await client.get_approval(answered.approval_id)
        await client.decide(new, "reject")
        assert decided.decision.comment == "while you were away"
        for each in (answered, closed, new):
            assert len(chat.room.posts(each.approval_id)) == 1
        assert chat.room.posts(gone.approval_id) == []  # decided before anybody could be asked


async def test_kills_at_any_moment(chat: Chat) -> None:
    """Approvals are asked and answered while the bot dies again and again."""
    async with chat.up.client() as client:
        asked = [(await chat.ask(client))[0] for _ in range(3)]
        chat.bot.kill()
        chat.bot.start()
        for each in asked:
            chat.ada.react(chat.id, chat.room.post(each.approval_id)["event_id"], YES)
        chat.bot.kill()
        more = [(await chat.ask(client))[0] for _ in range(2)]
        chat.bot.start()
        chat.bot.kill()
        chat.bot.start()
        for each in more:
            chat.bob.reply(chat.id, chat.room.post(each.approval_id)["event_id"], "approve")
        for each in (*asked, *more):
            assert state(await ended(client, await client.get_run(each.run_id))) == "COMPLETED"
            chat.room.edited(chat.room.post(each.approval_id)["event_id"], "APPROVED")
            edits = chat.room.edits(chat.room.post(each.approval_id)["event_id"])
            assert len([text for text in edits if "APPROVED" in text]) == 1


async def test_synapse_is_restarted(chat: Chat) -> None:
    async with chat.up.client() as client:
        before, _ = await chat.ask(client)
        post = chat.room.post(before.approval_id)
        chat.server.stop(kill=True)
        during, _ = await chat.ask(client)
        chat.server.start()
        for each in (before, during):
            chat.ada.react(chat.id, chat.room.post(each.approval_id)["event_id"], YES)
            assert state(await ended(client, await client.get_run(each.run_id))) == "COMPLETED"
        assert chat.room.post(before.approval_id)["event_id"] == post["event_id"]


async def test_services_are_killed(chat: Chat) -> None:
    async with chat.up.client(patient=True) as client:
        asked, _ = await chat.ask(client)
        post = chat.room.post(asked.approval_id)
        chat.up.kill("approval", "orchestrator")
        chat.ada.react(chat.id, post["event_id"], YES)
        done = await until(client, await client.get_run(asked.run_id), "SUCCEEDED")
        assert done.run_id == asked.run_id
        chat.room.edited(post["event_id"], "APPROVED by ada@example.org")
        assert len(chat.room.posts(asked.approval_id)) == 1
