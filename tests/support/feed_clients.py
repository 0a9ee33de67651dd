"""Many subscribers in a process of their own: `python -m tests.support.feed_clients ADDRESS TOKEN COUNT CHANNELS`.

Writes "ready" once all of them have caught up, then for each event, when the last of them has it, the time it arrived
there: seconds of the machine's monotonic clock, which all processes share. Messages are not parsed: what is measured
is the service, and the clients have to run beside it.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio

from interlock.v1 import approval_pb2 as pb

METHOD = "/interlock.v1.Approval/Subscribe"


async def main(address: str, token: str, count: int, channels: int) -> None:
    arrived: Counter[bytes] = Counter()
    waiting = count

    metadata = (("authorization", f"Bearer {token}"),)

    async def follow(opened: Any) -> None:
        nonlocal waiting
        call = opened.unary_stream(METHOD, request_serializer=pb.SubscribeRequest.SerializeToString)(
            pb.SubscribeRequest(), wait_for_ready=True, metadata=metadata
        )
        caught_up = False
        async for message in call:
            if not caught_up:
                caught_up = pb.SubscribeResponse.FromString(message).caught_up
                waiting -= caught_up
                if not waiting:
                    gc.collect()
                    gc.freeze()
                    print("ready", flush=True)
                continue
            arrived[message] += 1
            if arrived[message] == count:
                print(time.monotonic(), flush=True)
                del arrived[message]

    async with AsyncExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        opened = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options))
            for _ in range(channels)
        ]
        await asyncio.gather(*(follow(opened[number % channels]) for number in range(count)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
