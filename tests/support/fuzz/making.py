"""Makes a world: all services as processes, a scripted model, and one real call of every rpc."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.background import in_background
from tests.support.fuzz.calls import Caller
from tests.support.fuzz.laws import Laws
from tests.support.fuzz.lessons import learn
from tests.support.fuzz.world import World
from tests.support.installation import running
from tests.support.models import MODEL, Answer, Request, chat, scripted

PLAN = {"steps": [{"kind": "read_file", "name": "look", "path": "a.txt"}]}


def answer_for(request: Request) -> Answer | None:
    """What the scripted model says: what it is asked for."""
    if request.method != "POST":
        return None
    wanted = str(request.json.get("response_format", ""))
    if "new_content" in wanted and "steps" not in wanted:
        return chat({"new_content": "drafted\n"})
    return chat(PLAN) if "steps" in wanted else chat("It is fine.")


@contextmanager
def world() -> Iterator[Laws]:
    """A world in which every rpc was called, and what must stay true of it."""
    with in_background(scripted) as (model, _):
        model.rule(answer_for)
        environment = {
            "INTERLOCK_MODEL_GATEWAY": "openai",
            "INTERLOCK_MODEL_BASE_URL": f"{model.url}/v1",
            "INTERLOCK_MODEL_NAME": MODEL,
        }
        with running(**environment) as up:
            caller = Caller(up.endpoints, (up.home / "data" / "token").read_text().strip())
            try:
                made = World(up, caller)
                learn(made)
                yield Laws(made)
            finally:
                caller.close()
