"""A subscriber in a few lines of the SDK: prints every approval that is asked for, and approves what it printed.

Run it beside `interlock up` (or `run exec`) with the same INTERLOCK_DATA_DIR: python examples/demo/approver.py
A real one would decide by rules of its own, or pass the question on to a person.
"""

from __future__ import annotations

import asyncio

from interlock.cli.safe import escape_block
from interlock.client import Client, InterlockError
from interlock.v1.decision_pb2 import ApprovalRecord
from interlock.v1.policy_pb2 import Gate

SHOWN_LINES = 60


async def main() -> None:
    """Decides until it is stopped. The digest of what was printed goes along with every decision."""
    async with Client() as client:
        async for approval in client.approvals():
            print(described(approval), flush=True)
            try:
                await client.decide(approval, "approve", comment="the demo's subscriber has looked at it")
            except InterlockError as error:
                print(f"  not decided: {error}\n", flush=True)


def described(approval: ApprovalRecord) -> str:
    """What a person would want to see, in plain text. Nothing in it can move the cursor of a terminal."""
    effect = approval.preview
    lines = [f"step {approval.step} asks: {escape_block(approval.title)}", f"gate {Gate.Name(approval.gate)}"]
    if effect.argv:
        lines.append("runs  " + escape_block(" ".join(effect.argv)).rstrip().replace("\n", "\n        "))
    if approval.gate == Gate.GATE_EFFECT:
        if effect.HasField("exit_code"):
            lines.append(f"exit  {effect.exit_code}")
        lines += excerpt(effect.stdout.head + effect.stderr.head)
        lines += excerpt(effect.diff.encode())
    return "\n  ".join([*lines, f"digest {approval.digest}"]) + "\n"


def excerpt(text: bytes) -> list[str]:
    """The first lines, escaped."""
    lines = escape_block(text.decode(errors="backslashreplace")).splitlines()
    more = [f"… {len(lines) - SHOWN_LINES} more lines"] if len(lines) > SHOWN_LINES else []
    return ["  " + line for line in lines[:SHOWN_LINES]] + more


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
