"""Random histories: people write, are moved about and promoted, and their phones pull now and then.

    tess: a phone, and a tablet that may show some collections only      tom, sam: a phone each

A step is drawn as plain numbers; what they come to depends on the rows that there are by then.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from hypothesis import strategies as st

from backend.accounts.models import Role
from tests.laws.crew import (
    DORA,
    EDITS,
    NORTH,
    OFFICE,
    SAM,
    SOUTH,
    TERRITORIES,
    TESS,
    TOM,
    Crew,
    Edit,
    open_crew,
)
from tests.laws.replica import Replica

OWNERS = (TESS, TESS, TOM, SAM)
DEVICES = tuple(UUID(int=2001 + n) for n in range(len(OWNERS)))
T = TypeVar("T")


@dataclasses.dataclass(slots=True, kw_only=True)
class Story:
    """A tenant and the phones of its people."""

    crew: Crew
    replicas: list[Replica]


def begin() -> Story:
    """Return a new story, equal to all others."""
    crew = open_crew()
    pairs = zip(OWNERS, DEVICES, strict=True)
    return Story(crew=crew, replicas=[Replica(crew=crew, person=p, device_id=d) for p, d in pairs])


def tell(steps: Sequence[Step]) -> Story:
    """Let a history happen, and all phones pull to the end after it."""
    story = begin()
    for step in steps:
        step.do(story)
    PullEverywhere(1_000).do(story)
    return story


class Step(abc.ABC):
    """Something that happens."""

    @abc.abstractmethod
    def do(self, story: Story) -> None:
        """Let it happen."""


@dataclasses.dataclass(frozen=True, slots=True)
class Write(Step):
    """Somebody, or the office, writes some rows in one push."""

    who: UUID | None
    edits: tuple[Edit, ...]

    def do(self, story: Story) -> None:
        story.crew.write(self.who, self.edits)


@dataclasses.dataclass(frozen=True, slots=True)
class Reassign(Step):
    """A member gets other territories, and perhaps another role."""

    person: UUID
    role: Role
    territories: tuple[str, ...]

    def do(self, story: Story) -> None:
        story.crew.reassign(self.person, self.role, self.territories)


@dataclasses.dataclass(frozen=True, slots=True)
class MoveTerritory(Step):
    """A territory is hung below another one: supervisors gain and lose what is below."""

    territory: str
    parent: str | None

    def do(self, story: Story) -> None:
        story.crew.move_territory(self.territory, self.parent)


@dataclasses.dataclass(frozen=True, slots=True)
class Prune(Step):
    """The oldest tombstones are pruned: those up to some part of the feed, or none."""

    share: float

    def do(self, story: Story) -> None:
        story.crew.prune(int(story.crew.head() * self.share))


@dataclasses.dataclass(frozen=True, slots=True)
class Narrow(Step):
    """A phone asks for some collections from now on, or for all (none named)."""

    replica: int
    collections: tuple[str, ...]

    def do(self, story: Story) -> None:
        story.replicas[self.replica].collections = self.collections


@dataclasses.dataclass(frozen=True, slots=True)
class PullPages(Step):
    """A phone pulls some pages and is cut off; the answer of the last one may be lost."""

    replica: int
    limit: int
    pages: int
    loses_last: bool

    def do(self, story: Story) -> None:
        replica = story.replicas[self.replica]
        for left in reversed(range(self.pages)):
            page = replica.pull_page(self.limit, is_lost=self.loses_last and left == 0)
            if not page.has_more:
                return


@dataclasses.dataclass(frozen=True, slots=True)
class PullAll(Step):
    """A phone pulls to the end."""

    replica: int
    limit: int

    def do(self, story: Story) -> None:
        story.replicas[self.replica].pull(self.limit)


@dataclasses.dataclass(frozen=True, slots=True)
class PullEverywhere(Step):
    """All phones pull to the end."""

    limit: int

    def do(self, story: Story) -> None:
        for replica in story.replicas:
            replica.pull(self.limit)


@dataclasses.dataclass(frozen=True, slots=True)
class PutBack(Step):
    """A phone is restored to one of its earlier moments."""

    replica: int
    moment: int

    def do(self, story: Story) -> None:
        replica = story.replicas[self.replica]
        replica.now = self.moment % len(replica.moments)


def _of(strategies: dict[st.SearchStrategy[T], int]) -> st.SearchStrategy[T]:
    """Return one that draws from these in these proportions."""
    shares = [strategy for strategy, share in strategies.items() for _ in range(share)]
    return st.sampled_from(shares).flatmap(lambda strategy: strategy)


_numbers = st.integers(0, 7)
_replicas = st.integers(0, len(OWNERS) - 1)
_limits = st.integers(1, 5)
_territories = st.lists(st.sampled_from(TERRITORIES), max_size=3, unique=True).map(tuple)
_roles = st.sampled_from([Role.TECHNICIAN] * 6 + [Role.SUPERVISOR, Role.DISPATCHER])
_some_collections = st.sampled_from(
    [(), (), ("work_orders",), ("sites", "work_orders"), ("assets", "notes", "sites")]
)

_edits = st.tuples(st.sampled_from([*EDITS, "rehome", "assign", "title"]), _numbers, _numbers)
writes = st.builds(
    Write,
    st.sampled_from([DORA, DORA, DORA, OFFICE, TESS, TOM]),
    st.lists(_edits, min_size=1, max_size=3).map(tuple),
)
reassignments = st.builds(Reassign, st.sampled_from([TESS, TESS, TOM, SAM]), _roles, _territories)
moved_territories = st.builds(
    MoveTerritory, st.sampled_from(TERRITORIES), st.none() | st.sampled_from(TERRITORIES)
)
prunes = st.builds(Prune, st.sampled_from([0.0, 0.0, 0.5, 1.0]))
narrowed = st.builds(Narrow, st.just(1), _some_collections)
pages = st.builds(PullPages, _replicas, _limits, st.integers(1, 4), st.booleans())
whole_pulls = st.builds(PullAll, _replicas, _limits)
put_back = st.builds(PutBack, _replicas, st.integers(0, 60))

_anything: st.SearchStrategy[Step] = _of(
    {
        writes: 8,
        reassignments: 4,
        moved_territories: 1,
        prunes: 1,
        narrowed: 1,
        pages: 6,
        whole_pulls: 4,
        put_back: 2,
    }
)
histories = st.lists(_anything, min_size=5, max_size=18)


def _in_turn(*strategies: st.SearchStrategy[Step], max_size: int) -> st.SearchStrategy[list[Step]]:
    """Return rounds of one step of each."""
    rounds = st.lists(st.tuples(*strategies), min_size=2, max_size=max_size)
    return rounds.map(lambda drawn: [step for each in drawn for step in each])


# One phone, cut off again and again, and every time the world has changed.
_tess = st.builds(
    Reassign, st.just(TESS), _roles, st.sampled_from([(NORTH,), (SOUTH,), (NORTH, SOUTH), ()])
)
_upheavals: st.SearchStrategy[Step] = _of(
    {_tess: 4, reassignments: 2, writes: 2, narrowed: 2, put_back: 1}
)
_tess_pulls = st.builds(
    PullPages, st.integers(0, 1), st.integers(1, 3), st.integers(1, 3), st.booleans()
)
cut_off = _in_turn(_upheavals, _tess_pulls, max_size=9)

# All have seen everything; a single row goes, and at once nothing in the log says so any more.
_removals = st.builds(
    lambda who, what, one, other: Write(who, ((what, one, other),)),
    st.sampled_from([OFFICE, OFFICE, DORA]),
    st.sampled_from(["unwrite", "unwrite", "cancel", "assign", "relocate"]),
    _numbers,
    _numbers,
)
_some_prunes = st.sampled_from([Prune(1.0), Prune(1.0), Prune(0.9), Prune(0.0)])
pruned = _in_turn(
    st.builds(PullEverywhere, st.sampled_from([3, 1_000])),
    _removals,
    _some_prunes,
    pages | whole_pulls,
    _some_prunes,
    max_size=5,
)
