"""An approver with rules: approves what is harmless, rejects what destroys, and leaves the rest to a person.

python examples/rules_bot.py [PATTERN…]    (with `interlock up` running on the same INTERLOCK_DATA_DIR)

It judges what was observed, not what was asked: only steps whose effect was computed first (gate `effect`) have
something to look at. Every PATTERN names paths that may change without a person, `docs/*` and `tests/*` by default.
"""

import asyncio
import sys
from fnmatch import fnmatchcase

from interlock.client import Client, InterlockError
from interlock.v1.decision_pb2 import ApprovalRecord
from interlock.v1.policy_pb2 import GATE_EFFECT
from interlock.v1.step_pb2 import CHANGE_KIND_ADDED, CHANGE_KIND_DELETED, CHANGE_KIND_MODIFIED

MOST_DELETIONS = 10


def judge(approval: ApprovalRecord, patterns: list[str]) -> tuple[str, str]:
    """The verdict (`approve`, `reject`, or nothing) and why."""
    effect = approval.preview
    if approval.gate != GATE_EFFECT:
        return "", "nothing has run yet, so there is nothing to look at"
    if effect.changes_total > len(effect.changes) or effect.diff_truncated:
        return "", "it is too large to be shown whole"
    deleted = [change.path for change in effect.changes if change.kind == CHANGE_KIND_DELETED]
    if len(deleted) > MOST_DELETIONS:
        return "reject", f"it deletes {len(deleted)} files and directories"
    if effect.exit_code or effect.signal:
        return "", f"the command ended with exit code {effect.exit_code}, signal {effect.signal}"
    for change in effect.changes:
        if any(each.path.startswith(f"{change.path}/") for each in effect.changes):
            continue  # a directory: what lies in it is judged
        if change.kind not in (CHANGE_KIND_ADDED, CHANGE_KIND_MODIFIED) or change.binary:
            return "", f"{change.path} is deleted, renamed, binary or changes its mode"
        if not any(fnmatchcase(change.path, pattern) for pattern in patterns):
            return "", f"{change.path} is not one of {', '.join(patterns)}"
    return "approve", f"only {', '.join(patterns)} change, by {len(effect.changes)} files"


async def main(patterns: list[str]) -> None:
    async with Client() as client:
        async for approval in client.approvals():
            verdict, why = judge(approval, patterns)
            print(ascii(approval.title), verdict or "left to a person", "-", ascii(why), flush=True)
            if verdict:
                try:
                    await client.decide(approval, verdict, comment=f"rules_bot: {why}")
                except InterlockError as error:  # somebody else was faster, or the directory changed
                    print(ascii(str(error)), flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1:] or ["docs/*", "tests/*"]))
    except KeyboardInterrupt:
        pass
