"""A thousand devices on one worker process: all hear, and none holds a thread or much memory."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any
from uuid import UUID

from backend.accounts.models import Device, Membership, Role, User
from backend.accounts.selectors import DeviceSession
from backend.accounts.tokens import make_access
from backend.devstack.server import Server
from sync.clock import utc_now
from tests.e2e.memory import memory_bytes, only_linux
from tests.phones import World, create
from tests.pokes.conftest import head_of
from tests.pokes.rig import COMES_S_MAX, EVENTS, push, served

DEVICES = 1_000
WARM_DEVICES = 100  # what comes with the first of them is not theirs
AT_ONCE = 50  # that connect
BYTES_PER_STREAM_MAX = 100_000  # docs/performance.md has what was measured


def hire_many(world: World, count: int) -> list[str]:
    """Return the tokens of technicians of Cardiff, each with a phone."""
    users = User.objects.bulk_create(User(username=f"crowd-{uuid.uuid4()}") for _ in range(count))
    members = Membership.objects.bulk_create(
        Membership(
            tenant=world.tenant,
            user=user,
            role=Role.TECHNICIAN,
            territories=[UUID(world.cardiff)],
        )
        for user in users
    )
    now = utc_now()
    devices = Device.objects.bulk_create(
        Device(
            tenant=world.tenant,
            user=user,
            install_id="phone",
            platform="test",
            app_version="1",
            created_at=now,
            last_seen_at=now,
        )
        for user in users
    )
    return [
        make_access(
            DeviceSession(
                user=member.user, tenant_id=world.tenant.pk, membership=member, device=device
            )
        )
        for member, device in zip(members, devices, strict=True)
    ]


def threads_of(server: Server) -> int:
    return len(list(Path(f"/proc/{server.child.pid}/task").iterdir()))


class Crowd:
    """Many open streams, read by one event loop."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._door = asyncio.Semaphore(AT_ONCE)
        self.lines: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def join(self, tokens: list[str]) -> None:
        """Open a stream for each, and wait for its first poke."""
        await asyncio.gather(*(self._open(token) for token in tokens))

    async def hear(self, head: int) -> None:
        """Wait until all were poked with `head`."""
        wanted = b'data: {"head": %d}\n' % head
        await asyncio.gather(*(reader.readuntil(wanted) for reader, _ in self.lines))

    async def leave(self) -> None:
        for _, writer in self.lines:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in self.lines))

    async def _open(self, token: str) -> None:
        async with self._door:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
            writer.write(
                f"GET {EVENTS} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Authorization: Bearer {token}\r\n\r\n".encode()
            )
            self.lines.append((reader, writer))
            await reader.readuntil(b"event: poke\n")
            await reader.readuntil(b"\n\n")


@only_linux
def test_thousand_streams_of_one_worker_hear_of_one_change(
    wales: World, tmp_path: Path, redis_url: str
) -> None:
    """One process with eight threads; what a stream costs is bounded."""
    dora = wales.hire(Role.DISPATCHER)
    tokens, before = hire_many(wales, DEVICES), head_of(wales)

    async def story(server: Server) -> dict[str, Any]:
        crowd = Crowd(server)
        await crowd.join(tokens[:WARM_DEVICES])
        warm = memory_bytes(server, "VmRSS")
        await crowd.join(tokens[WARM_DEVICES:])
        full, threads = memory_bytes(server, "VmRSS"), threads_of(server)
        await asyncio.to_thread(push, server, dora, create("work_orders", **wales.order()))
        await crowd.hear(before + 1)
        await crowd.leave()
        return {"bytes": (full - warm) / (DEVICES - WARM_DEVICES), "threads": threads}

    with served(tmp_path, POKE_URL=redis_url) as server:
        found = asyncio.run(asyncio.wait_for(story(server), COMES_S_MAX * 2))

    assert found["bytes"] < BYTES_PER_STREAM_MAX
    assert found["threads"] < DEVICES / 10
