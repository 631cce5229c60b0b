"""Devices for Locust: each comes when the plan says, pushes its work, pulls, and rests.

    LOAD_PLAN=plan.json locust -f loadtests/locustfile.py --headless …

`python -m loadtests.load` makes the plan, runs this, and says what came of every row. A device
speaks by the SDK's own wire code; what fails in passing is sent again as the SDK would: the same
bytes under the same key, after the wait that the server asked for.
"""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from locust import FastHttpUser, events, task
from locust.env import Environment
from locust.exception import StopUser

from fieldsync.wire import Mutation, Op, parse_pull, parse_push, render_push
from loadtests.load.plan import Told, read_plan

PUSH, PULL = "/api/v1/sync/push", "/api/v1/sync/pull?limit=1000"
NOT_MODIFIED = 304
BUSY = frozenset({429, 503})
BROKEN = 0  # how Locust says that there was no answer
TRIES_MAX = 60
BACKOFF_S, BACKOFF_S_MAX = 0.2, 5.0

PLAN = read_plan(Path(os.environ["LOAD_PLAN"]))
GATE = BoundedSemaphore(PLAN.at_once_max or len(PLAN.devices))
WAITING = iter(PLAN.devices)
TOLD: list[Told] = []
BEGAN = time.monotonic()


class GaveUp(Exception):
    """A device that never got through."""


class DeviceUser(FastHttpUser):
    """One device of the plan."""

    host = PLAN.url
    network_timeout = connection_timeout = 60.0

    def on_start(self) -> None:
        """Become the next device, and wait until it comes."""
        self.device = next(WAITING)
        self.rng = random.Random(self.device.seed)  # repeatable
        self.headers = {"Authorization": f"Bearer {self.device.token}"}
        self.told = Told(device=self.device.device)
        self.cursor = self.etag = ""
        gevent.sleep(max(0.0, self.device.comes_s - (time.monotonic() - BEGAN)))

    @task
    def live(self) -> None:
        """Do all that the profile asks of a device, then leave."""
        try:
            for number in range(PLAN.rounds):
                if number:
                    gevent.sleep(PLAN.poll_s * self.rng.uniform(0.5, 1.5))
                with GATE:
                    self._sync()
                for _ in range(PLAN.polls):
                    gevent.sleep(PLAN.poll_s * self.rng.uniform(0.5, 1.5))
                    self._pull()
        except GaveUp as error:
            self.told.gave_up = str(error)
        TOLD.append(self.told)
        if len(TOLD) == len(PLAN.devices):
            self.environment.runner.quit()
        raise StopUser

    def _sync(self) -> None:
        began = time.monotonic()
        for batch in self._batches():
            self._push(batch)
        if PLAN.first_sync or self.cursor:
            self._pull()
        took_s = time.monotonic() - began
        self.told.syncs_s.append(took_s)
        events.request.fire(  # type: ignore[no-untyped-call]
            request_type="SYNC", name="a device's whole sync", response_time=took_s * 1000,
            response_length=0, exception=None, context={},
        )  # fmt: skip

    def _batches(self) -> Iterator[list[Mutation]]:
        rows = [self._row() for _ in range(PLAN.push_rows)]
        for start in range(0, len(rows), PLAN.batch_rows):
            yield rows[start : start + PLAN.batch_rows]

    def _row(self) -> Mutation:
        row_id = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        data: dict[str, Any] = {
            "kind": "repair",
            "site": self.rng.choice(self.device.sites),
            "title": f"load {row_id}",
            "description": "Fails since Monday, noise at start. " * 4,
            "priority": self.rng.randint(1, 5),
        }
        return Mutation(op=Op.CREATE, collection="work_orders", id=row_id, data=data)

    def _push(self, batch: list[Mutation]) -> None:
        """Send it until there is an answer; what the answer says of each row is noted."""
        body = render_push(batch)
        headers = {
            **self.headers,
            "Content-Type": "application/json",
            "Idempotency-Key": str(uuid.UUID(int=self.rng.getrandbits(128), version=4)),
        }
        self.told.sent += [mutation.id for mutation in batch]
        answer = self._until_answered("POST", PUSH, headers, body)
        report = parse_push(answer.content)
        self.told.replays += answer.headers.get("Idempotency-Replayed") == "true"
        for mutation, result in zip(batch, report.results, strict=True):
            if result.outcome == "created":
                self.told.acked.append(mutation.id)
            else:
                self.told.refused[result.outcome] = self.told.refused.get(result.outcome, 0) + 1

    def _pull(self) -> None:
        """Pull page after page to the head; a poll with nothing new is a 304."""
        while True:
            cursor = f"&cursor={self.cursor}" if self.cursor else ""
            tag = {"If-None-Match": self.etag} if self.etag else {}
            answer = self._until_answered("GET", PULL + cursor, {**self.headers, **tag}, None)
            if answer.status_code == NOT_MODIFIED:
                return
            page = parse_pull(answer.content)
            self.told.pulled += len(page.changes)
            self.cursor, self.etag = page.cursor, answer.headers.get("ETag", "")
            if not page.has_more:
                return

    def _until_answered(self, method: str, path: str, headers: dict[str, str], body: Any) -> Any:
        """Return the first answer with a meaning; the same request again until then."""
        name, began = path.partition("?")[0].rpartition("/")[2], time.monotonic()
        for number in range(TRIES_MAX):
            with self.client.request(
                method, path, name=name, headers=headers, data=body, catch_response=True
            ) as answer:
                status = answer.status_code
                self.told.statuses[str(status)] = self.told.statuses.get(str(status), 0) + 1
                if status in {200, NOT_MODIFIED}:
                    answer.success()
                    if number:
                        self.told.healed_s.append(time.monotonic() - began)
                    return answer
                if status not in BUSY and status != BROKEN:
                    message = f"{status}: {answer.content[:200]!r}"
                    raise GaveUp(message)
                answer.success()  # told apart below, and counted by its status
                asked_s = float((answer.headers or {}).get("Retry-After") or 0)
                self.told.without_retry_after += status in BUSY and not asked_s
            backoff_s = min(BACKOFF_S * 2**number, BACKOFF_S_MAX)
            gevent.sleep(asked_s + self.rng.uniform(0, max(backoff_s, asked_s / 2)))
        message = f"{name}: no answer in {TRIES_MAX} tries"
        raise GaveUp(message)


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def write_told(environment: Environment, **_: Any) -> None:
    """Write what each device was told, for whoever counts."""
    del environment
    PLAN.told_path.write_text(json.dumps([told.to_json() for told in TOLD]))
