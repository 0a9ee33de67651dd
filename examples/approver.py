"""The smallest approver: shows every step that waits, and approves exactly what it showed.

python examples/approver.py    (with `interlock up` running on the same INTERLOCK_DATA_DIR)
"""

import asyncio

from interlock.client import Client


async def main() -> None:
    async with Client() as client:
        async for approval in client.approvals():
            print(ascii(approval.title), ascii(approval.preview.diff), flush=True)
            await client.decide(approval, "approve", comment="looks fine")


if __name__ == "__main__":
    asyncio.run(main())
