"""People at work with real phones, and the ledger of what they were told is done.

    work    create, edit and delete own work orders, sync, again; whatever the link does
    settle  sync until nothing waits, and give back by hand what the server asked about

Each row is edited on one phone alone, so that what it has to be in the end is known.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fieldsync
from backend.fieldwork.demo_seed import PASSWORD, seed_id

RETRY = fieldsync.RetryPolicy(
    attempts_max=4, wait_s_max=10, backoff_first_s=0.02, backoff_s_max=0.5
)
TERRITORY = {"tess": "Cardiff", "tom": "Swansea", "sam": "Newport", "dora": "Cardiff"}
ROUNDS_MAX = 400  # a phone that has not got through by then never will
LOGIN_TRIES_MAX = 30


class Hand:
    """One person's phone; `ledger` has the title that each of their rows must have, or GONE."""

    def __init__(self, username: str, url: str, store: Path, seed: int) -> None:
        self.username = username
        self.rng = random.Random(seed)
        self.ledger: dict[str, str | None] = {}
        self.acked = 0  # rows of pushes that were answered
        self.broken = 0  # syncs that did not get through
        self.client = fieldsync.Client(
            url, store=store, retry=RETRY, timeout_s=20, rng=random.Random(seed), app_version="1"
        )
        self.site = str(seed_id("wales", "sites", TERRITORY[username], 0))

    def log_in(self) -> None:
        for tries_left in reversed(range(LOGIN_TRIES_MAX)):
            try:
                self.client.login(self.username, PASSWORD)
                return
            except fieldsync.Unreachable:
                if not tries_left:
                    raise

    def edit(self, rows: int = 3) -> None:
        """Make some rows, edit one of those before, and now and then delete one."""
        orders = self.client.collection("work_orders")
        for _ in range(rows):
            title = f"{self.username} {self.rng.getrandbits(48):x}"
            row_id = orders.create({"kind": "repair", "site": self.site, "title": title})
            self.ledger[row_id] = title
        living = [row_id for row_id, title in self.ledger.items() if title is not None]
        chosen = self.rng.choice(living)
        if orders.get(chosen) is None:
            return  # the server has lost it, and does not have it back yet
        if self.username == "dora" and self.rng.random() < 0.2:
            orders.delete(chosen)
            self.ledger[chosen] = None
        else:
            title = f"{self.username} {self.rng.getrandbits(48):x}, edited"
            orders.update(chosen, {"title": title})
            self.ledger[chosen] = title

    def sync(self) -> bool:
        """Sync once; whether it got through."""
        try:
            report = self.client.sync()
        except fieldsync.TransportFailure:
            self.broken += 1
            return False
        self.acked += sum(report.outcomes.values())
        return True

    def settle(self) -> None:
        """Sync until nothing waits; what the server asks about is answered with 'mine'."""
        for _ in range(ROUNDS_MAX):
            got_through = self.sync()
            status = self.client.status()
            if got_through and not (status.pending or status.sent or status.acked_unseen):
                if not status.issues:
                    return
                for issue in self.client.issues():
                    if issue.outcome == "conflict":
                        issue.resolve(keep="mine")
                    else:
                        issue.retry()
                    self._say_again(issue.row_id)
        raise AssertionError(f"{self.username} never got through: {self.client.issues()}")

    def _say_again(self, row_id: str) -> None:
        """An issue is as old as its edit: what was done to the row since is done once more."""
        orders = self.client.collection("work_orders")
        title = self.ledger.get(row_id)
        if orders.get(row_id) is None:
            return
        if title is None:
            orders.delete(row_id)
        else:
            orders.update(row_id, {"title": title})


class Crew:
    """All of them, each in a thread of its own."""

    def __init__(self, hands: Sequence[Hand]) -> None:
        self.hands = hands
        self._errors: list[BaseException] = []

    @property
    def acked(self) -> int:
        return sum(hand.acked for hand in self.hands)

    @property
    def ledger(self) -> dict[str, str | None]:
        return {row_id: title for hand in self.hands for row_id, title in hand.ledger.items()}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Have everybody work, without a pause, for the block."""
        over = threading.Event()

        def work(hand: Hand) -> None:
            while not over.is_set():
                hand.edit()
                hand.sync()

        with self._everybody(work, over):
            yield

    def settle(self) -> None:
        """Let everybody settle, at once."""
        with self._everybody(Hand.settle, threading.Event()):
            pass

    def wait_for(self, more: int) -> None:
        """Return when so many rows more were acknowledged; to be called while they are at work."""
        wanted = self.acked + more
        while self.acked < wanted:
            assert not self._errors, self._errors
            threading.Event().wait(0.02)

    @contextmanager
    def _everybody(self, do: Any, over: threading.Event) -> Iterator[None]:
        def run(hand: Hand) -> None:
            try:
                do(hand)
            except BaseException as error:  # raised again by whoever waits
                self._errors.append(error)

        threads = [threading.Thread(target=run, args=(hand,), daemon=True) for hand in self.hands]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._errors[0]
