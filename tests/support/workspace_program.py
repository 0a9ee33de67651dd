"""Uses of the workspaces, each in a process of its own, so that it can be killed, or be an ordinary user's.

Reads JSON objects on stdin, one a line: `root`, `owner` ([uid, gid] or null), `failpoint`, `do` and its arguments.
Prints one JSON object for each. Needs nothing outside the standard library and the source roots, so that any
Python 3.11 of any user runs it.
"""

from __future__ import annotations

import ast
import errno
import json
import os
import signal
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support.trees_mutator import run

from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError
from interlock.executor.files import failpoints
from interlock.executor.snapshots import sweep
from interlock.executor.workspaces import ArchiveSource, DirectorySource, Owner, TreeSource, Workspaces
from interlock.executor.workspaces.collector import Ask, Retention
from interlock.executor.workspaces.reverts import Revert


def main() -> None:
    """Answer one request a line, each in a forked child, until stdin ends. A killed child's answer is `null`."""
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            with open(writing, "w") as out:
                out.write(serve(json.loads(line)))
            os._exit(0)
        os.close(writing)
        with open(reading) as answers:
            answer = answers.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("null" if killed else answer or json.dumps({"crash": status}), flush=True)


def serve(ask: dict[str, Any]) -> str:
    owner = Owner(*ask["owner"]) if ask["owner"] else None
    if ask["do"] == "recover":
        failpoints.arm(ask["failpoint"])
    try:
        spaces = Workspaces(Path(ask["root"]), owner=owner, copy_forks=True)
        failpoints.arm(ask["failpoint"])
        answer = ACTIONS[ask["do"]](spaces, ask)
    except InterlockError as error:
        answer = {"error": error.reason.value, "message": error.message, **error.metadata}
    except (OSError, AssertionError, LookupError, TypeError, ValueError):
        return json.dumps({"crash": traceback.format_exc()})
    failpoints.arm("")
    spaces.close()
    return json.dumps(answer)


def prepare(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    """Import a directory; run a mutation in a fork of it; capture."""
    workspace = spaces.create(DirectorySource(Path(ask["live"])))
    fork = spaces.fork(workspace.id)
    run(str(fork.upper).encode(), ast.literal_eval(ask["program"]))
    captured = spaces.capture(fork)
    spaces.discard(fork)
    return {"workspace": workspace.id, "base": captured.base_tree, "result": captured.result_tree}


def create(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    workspace = spaces.create(DirectorySource(Path(ask["live"])))
    return {"workspace": workspace.id, "head": workspace.head}


def publish(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    done = spaces.publish(
        ask["workspace"], ask["base"], ask["result"], key="k", look=ask.get("look", "everything")
    )
    return {"head": done.head_tree, "how": done.how, "kept": list(done.kept)}


def blocked(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    """`publish`, where changing the live directory is not permitted from its `at`-th path on, until it goes back."""
    kill, passed = failpoints.action, 0

    def action(name: str) -> None:
        nonlocal passed
        passed += name == "publish.live.entry"
        if kill is not None:
            kill(name)
        if name == "publish.live.entry" and passed >= ask["at"]:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    failpoints.action = action
    return publish(spaces, ask)


def rollback(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    done = spaces.rollback(ask["workspace"], ask["tree"], key="r")
    return {"head": done.head_tree, "how": done.how, "kept": list(done.kept)}


def revert(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    done = spaces.revert(
        ask["workspace"],
        Revert(digest_bytes(ask["result"]), digest_bytes(ask["base"]), "revert", "v", "everything"),
    )
    return {"head": done.head_tree, "how": done.how, "kept": list(done.kept)}


def fork(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    """Look for drift and adopt it."""
    made = spaces.fork(ask["workspace"])
    spaces.discard(made)
    changes = [[change.path, change.kind] for change in made.drift.changes] if made.drift else []
    return {"head": spaces.get(ask["workspace"]).head, "drift": changes}


def remove(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    spaces.remove(ask["workspace"])
    return {}


def look(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    """Look, change a mode, and look again: by what changed, and at everything."""
    name, path = ask["workspace"], Path(ask["path"])
    spaces.look_for_drift(name)
    path.chmod(ask["mode"])
    found = []
    for complete in (False, True):
        if complete:
            spaces._watches.drop(name)
        try:
            spaces.look_for_drift(name)
        except InterlockError as error:
            found.append([error.reason.value, error.metadata.get("paths", "")])
    return {"head": spaces.get(name).head, "refused": found}


def branch(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    """Make a tree of a workspace a workspace of its own; one that is there already is enough."""
    known = {workspace.id: workspace.head for workspace in spaces.list_workspaces()}
    if ask["name"] not in known:
        source = TreeSource(ask["workspace"], ask["tree"], Path(ask["out"]))
        known[ask["name"]] = spaces.create(source, workspace=ask["name"]).head
    return {"head": known[ask["name"]], "drift": spaces.look_for_drift(ask["name"]) is not None}


def unpack(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    """Make an archive a workspace at a chosen place; one that is there already is enough."""
    known = {workspace.id: workspace.head for workspace in spaces.list_workspaces()}
    if ask["name"] not in known:
        source = ArchiveSource(Path(ask["archive"]), destination=Path(ask["out"]))
        known[ask["name"]] = spaces.create(source, workspace=ask["name"]).head
    return {"head": known[ask["name"]], "drift": spaces.look_for_drift(ask["name"]) is not None}


def garbage(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    """A workspace with a history of which only the ends are needed, small objects and big ones."""
    workspace = spaces.create(DirectorySource(Path(ask["live"])))
    trees = [workspace.head]
    for number in range(4):
        content = bytes([number]) * (2 << 20 if number % 2 else 100)
        done = spaces.edit(workspace.id, trees[-1], "file", content)
        spaces.publish(workspace.id, done.base_tree, done.result_tree)
        trees.append(done.result_tree)
    return {"workspace": workspace.id, "trees": trees}


def collect(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    """Everything that may go, one object at a time."""
    sweep.PAGE = 1
    spaces.collector.retention = Retention(timedelta(0), timedelta(0))
    done = spaces.collector.collect(Ask())
    return {"removed": done.swept.removed}


def stored(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    """What the store holds, counted; and what of it is missing or too much."""
    marks = spaces.collector.reachable()
    objects = spaces.store.page(b"", 10_000)
    missing = [each.hex() for each in marks.ids if not spaces.store.has(each)]
    files = {path.name for path in (spaces.store.directory / "big").glob("??/*")}
    rows = {each.id.hex() for each in objects}
    usage = spaces.usage()
    assert usage.objects == len(objects)
    assert usage.disk_bytes == sum(each.stored for each in objects)
    for each in objects:
        spaces.store.get(each.id)
    return {"objects": sorted(rows), "missing": missing, "strays": sorted(files - rows)}


def recover(spaces: Workspaces, ask: dict[str, Any]) -> dict[str, Any]:
    """What opening the directory did, and how things stand after it."""
    found = spaces.recovered
    return {
        "heads": {workspace.id: workspace.head for workspace in spaces.list_workspaces()},
        "finished": len(found.finished),
        "kept": [path for _, kept in found.finished for path in kept],
        "failed": list(found.failed),
        "removed": list(found.removed),
    }


ACTIONS = {
    "prepare": prepare,
    "create": create,
    "publish": publish,
    "blocked": blocked,
    "rollback": rollback,
    "revert": revert,
    "branch": branch,
    "look": look,
    "unpack": unpack,
    "fork": fork,
    "remove": remove,
    "recover": recover,
    "garbage": garbage,
    "collect": collect,
    "stored": stored,
}

if __name__ == "__main__":
    main()
