"""A board on the wall: open work orders, always as they are now. On an event loop.

    FIELDSYNC_PASSWORD=… python async_board.py http://127.0.0.1:8000 board.db dora

It prints a line for each order that is new or has another status, until Ctrl-C.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress

import fieldsync


async def show(client: fieldsync.AsyncClient, news: asyncio.Event) -> None:
    """Print what has changed whenever there is news."""
    shown: dict[str, str] = {}
    while True:
        for row in await asyncio.to_thread(client.collection("work_orders").all):
            status = row.data["status"]
            if shown.get(row.id) != status:
                shown[row.id] = status
                print(row.data["number"], status, row.data["title"], flush=True)
        await news.wait()
        news.clear()


async def main(url: str, store: str, username: str) -> None:
    """Keep the board."""
    loop, news = asyncio.get_running_loop(), asyncio.Event()

    def hear(_change: fieldsync.RowsChanged) -> None:
        loop.call_soon_threadsafe(news.set)  # it is another thread that has changed the store

    async with fieldsync.AsyncClient(url, store=store, platform="board") as client:
        if client.status().username is None:
            await client.login(username, os.environ["FIELDSYNC_PASSWORD"])
        client.collection("work_orders").on_change(hear)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(show(client, news))
            tasks.create_task(client.run_forever())


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:4]))
