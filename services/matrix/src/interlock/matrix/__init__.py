"""A Matrix bot: posts what waits for a decision in rooms, and takes reactions and replies as the decisions.

It is also the example of how any bot is written on the SDK: docs/bots.md walks through these modules.

    settings   what the file and the environment say: homeserver, rooms, and who is who
    homeserver the few calls of the Matrix client-server API that it needs, on httpx
    render     an approval as a message; hostile content stays text
    answers    a reaction or a reply as an answer to a message
    state      what has been posted and read, in SQLite, so that a restart repeats and forgets nothing
    posting    feed of approvals → messages
    deciding   messages of people → decisions
    bot        both together
"""
