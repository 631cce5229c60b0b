"""Every order in which two or three connections can claim, lock, count up, commit and pull.

Each scenario makes new rows for each schedule and says what is wrong with its outcome. Without a
bug nothing is, in any schedule; with one planted, some schedule shows it.
"""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from sync import changelog, feed, push, wire
from sync.clock import utc_now
from sync.types import Actor
from tests.faults.campaign.planting import planted
from tests.faults.campaign.server_bugs import BUGS
from tests.faults.interleaving import Driver, Work, driver, stop_here
from tests.phones import World, create, new_id, update
from tests.sync.agreement import findings_of

# How often somebody who could go on is interrupted; `make laws` has all schedules of three.
INTERRUPTIONS = int(os.environ.get("INTERRUPTIONS", "1"))
FOUND_WITHIN = 2

Outcomes = list[Any]  # of the actors
Judge = Callable[[Outcomes], str]  # what is wrong, empty if nothing is
Begin = Callable[[], tuple[Sequence[Work], Judge]]


@dataclasses.dataclass(kw_only=True)
class Reader:
    """A device that polls, in two steps: the head, then the page."""

    actor: Actor
    cursor: str | None = None
    held: dict[str, int] = dataclasses.field(default_factory=dict)

    def poll(self) -> dict[str, int]:
        stream = changelog.read_stream(self.actor.tenant_id)
        stop_here()
        actor = dataclasses.replace(self.actor, stream=stream)
        page = feed.pull(actor, cursor=self.cursor, limit=500, collections=["work_orders"])
        found = wire.decode(page.render(utc_now()))
        self.cursor = found["cursor"]
        self.held |= {line["id"]: line.get("version", 0) for line in found["changes"]}
        return self.held


class Scenes:
    """The scenarios of one tenant."""

    def __init__(self, wales: World) -> None:
        self.wales = wales
        self.tess, self.dora = self._actor("technician"), self._actor("dispatcher")
        self.reader = Reader(actor=dataclasses.replace(self.dora, device_id=uuid.uuid4()))

    def _actor(self, role: str) -> Actor:
        phone = self.wales.hire(role)
        territories = {"technician": [self.wales.cardiff]}.get(
            role, [self.wales.cardiff, self.wales.newport]
        )
        return Actor(
            tenant_id=phone.tenant_id,
            user_id=phone.user_id,
            device_id=phone.device_id,
            role=role,
            scopes=frozenset({"tenant", *(f"territory:{each}" for each in territories)}),
        )

    def push(self, actor: Actor, *mutations: dict[str, Any], key: str = "") -> Work:
        body = wire.encode({"policy": "per_row", "mutations": list(mutations)})
        key = key or str(uuid.uuid4())

        def work() -> tuple[bytes, bool, list[dict[str, Any]]]:
            answer = push.push(actor, key=key, route="POST", body=body, now=utc_now())
            return answer.body, answer.is_replay, wire.decode(answer.body)["results"]

        return work

    def made(self, **data: Any) -> str:
        row_id = new_id()
        self.push(self.dora, create("work_orders", row_id, **self.wales.order(**data)))()
        return row_id

    # scenarios

    def twins(self) -> tuple[Sequence[Work], Judge]:
        """The same request twice: one is carried out, the other gives the same answer again."""
        key = str(uuid.uuid4())
        edit = update("work_orders", self.made(), 1, title=f"{self.wales.canary} once")
        works = [self.push(self.dora, edit, key=key) for _ in range(2)]

        def judge(outcomes: Outcomes) -> str:
            (one, is_one_replay, _), (other, is_other_replay, _) = outcomes
            if one != other or is_one_replay == is_other_replay:
                return f"{one!r} and {other!r}"
            return ""

        return works, judge

    def two_and_a_reader(self) -> tuple[Sequence[Work], Judge]:
        """Two edit a row each, one polls: what was committed at or below its cursor, it has.

        New rows would take turns: each work order gets the tenant's next number.
        """
        ids = [self.made(), self.made()]
        works = [
            self.push(self.dora, update("work_orders", each, 1, title=f"{self.wales.canary} new"))
            for each in ids
        ]

        def judge(outcomes: Outcomes) -> str:
            del outcomes
            self.reader.poll()
            missed = [each for each in ids if self.reader.held.get(each) != 2]
            return f"{missed} were never seen" if missed else ""

        return [*works, self.reader.poll], judge

    def one_row(self) -> tuple[Sequence[Work], Judge]:
        """Two edit one field of one row, on one version: one of them is a conflict."""
        row = self.made()
        works = [
            self.push(self.dora, update("work_orders", row, 1, title=f"{self.wales.canary} {n}"))
            for n in range(2)
        ]

        def judge(outcomes: Outcomes) -> str:
            verdicts = sorted((line["outcome"], line["version"]) for *_, (line,) in outcomes)
            return "" if verdicts == [("conflict", 2), ("updated", 2)] else str(verdicts)

        return works, judge

    def two_fields(self) -> tuple[Sequence[Work], Judge]:
        """Two edit two fields of one row, on one version: both are there, at versions 2 and 3."""
        row = self.made()
        title, about = (f"{self.wales.canary} {name}" for name in ("title", "about"))
        works = [
            self.push(self.dora, update("work_orders", row, 1, title=title)),
            self.push(self.dora, update("work_orders", row, 1, description=about)),
        ]

        def judge(outcomes: Outcomes) -> str:
            verdicts = sorted((line["version"], line["outcome"]) for *_, (line,) in outcomes)
            return "" if verdicts == [(2, "updated"), (3, "merged")] else str(verdicts)

        return works, judge

    def move_and_note(self) -> tuple[Sequence[Work], Judge]:
        """An order leaves somebody who writes a note about it: one of them comes first."""
        row, note = self.made(), new_id()
        works = [
            self.push(self.dora, update("work_orders", row, 1, site=self.wales.other_site)),
            self.push(self.tess, create("notes", note, work_order=row, text=self.wales.canary)),
        ]

        def judge(outcomes: Outcomes) -> str:
            _, (*_, (line,)) = outcomes
            stored = self._told("notes", note)
            moved = f"territory:{self.wales.newport}" in self._told("work_orders", row)[0]
            if line["outcome"] == "dependency_failed":
                return "" if not stored else "refused, and there"
            scopes, seq = stored
            _, order_seq = self._told("work_orders", row)
            if moved and f"territory:{self.wales.newport}" not in scopes:
                return f"the note stayed behind, in {scopes}"
            return "" if seq > order_seq - 1 and self._was_told(note) else "its author never knew"

        return works, judge

    def _told(self, collection: str, row_id: str) -> Any:
        from sync.models import ChangeRow

        found = ChangeRow.objects.filter(collection=collection, row_id=row_id)
        return found.values_list("scopes", "seq").first()

    def _was_told(self, note: str) -> bool:
        """Whether the author's feed has anything about the note: that it is there, or left."""
        from sync.models import Entry

        scope = f"territory:{self.wales.cardiff}"
        return Entry.objects.filter(scope=scope, row_id=note).exists()


def violations(drive: Driver, begin: Begin, interruptions: int) -> Iterator[str]:
    """Yield what is wrong in any schedule."""
    judges: list[Judge] = []

    def works() -> Sequence[Work]:
        made, judge = begin()
        judges.append(judge)
        return made

    for schedule, outcomes in drive.schedules(works, interruptions=interruptions):
        failed = [each for each in outcomes if isinstance(each, BaseException)]
        wrong = repr(failed) if failed else judges.pop()(outcomes)
        if wrong:
            yield f"{schedule}: {wrong}"


SCENES = ("twins", "two_and_a_reader", "one_row", "two_fields", "move_and_note")


@pytest.mark.parametrize("name", SCENES)
def test_no_order_breaks_a_law(wales: World, name: str) -> None:
    """Of claim, lock, write, count up and commit, and of a reader's two looks."""
    scenes = Scenes(wales)
    with driver(3) as drive:
        assert list(violations(drive, getattr(scenes, name), INTERRUPTIONS)) == []
    assert findings_of(wales) == []


@pytest.mark.parametrize(
    ("bug", "name"),
    [
        ("a key is looked up, then written", "twins"),
        ("a sequence numbers the feed", "two_and_a_reader"),
        ("the counter of the feed is read without its lock", "two_and_a_reader"),
        ("the head is read behind the page", "two_and_a_reader"),
        ("rows are read without a lock", "one_row"),
        ("rows are read without a lock", "two_fields"),
        ("an edit that was read around a move is told where the row was", "move_and_note"),
    ],
)
def test_planted_race_is_found(wales: World, bug: str, name: str) -> None:
    """Some order shows it, without a single random number."""
    scenes = Scenes(wales)
    with driver(3) as drive, planted(BUGS[bug], stop_here):
        found = next(violations(drive, getattr(scenes, name), FOUND_WITHIN), None)

    assert found is not None
