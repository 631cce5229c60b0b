"""What is measured, and how fast the product is to be beside the floor."""

from __future__ import annotations

import dataclasses
import enum
from typing import Final

TENANTS: Final = 8
FEWER: Final = 5  # rows of a filling to one of `FEW`
DEVICES: Final = 8  # in the first tenant; the others have one each


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of work, done by `clients` devices at once."""

    name: str
    title: str
    clients: int = 1
    target: float | None = None  # least ratio of the product's throughput to the floor's


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PushCase(Case):
    """Pushes of `batch_rows`; each device in a tenant of its own, or all in one."""

    batch_rows: int
    is_spread: bool = False
    is_update: bool = False


class Kind(enum.Enum):
    """How a device pulls."""

    PAGES = enum.auto()  # a first sync, page by page
    STREAM = enum.auto()  # a first sync as one stream of lines
    CHANGED = enum.auto()  # the rows that changed since its cursor
    POLL = enum.auto()  # nothing changed, and its last answer has a tag
    DIGEST = enum.auto()  # the sums of what it holds


class Filling(enum.Enum):
    """What is there to pull."""

    PLAIN = enum.auto()  # one territory
    FEW = enum.auto()  # the same, a fifth of the rows
    MANY_SCOPES = enum.auto()  # as many rows, in a hundred territories
    LARGE = enum.auto()  # many more rows


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PullCase(Case):
    """Pulls of devices in one tenant that is filled beforehand; both servers read the same."""

    kind: Kind
    filling: Filling = Filling.PLAIN
    encoding: str | None = None  # what the device says that it can unpack

    @property
    def has_rows(self) -> bool:
        """Whether rows are counted; else it is requests."""
        return self.kind in {Kind.PAGES, Kind.STREAM, Kind.CHANGED}


class Task(enum.StrEnum):
    """What a device does with the SDK, and by hand."""

    SYNC = enum.auto()  # a first sync
    CREATE = enum.auto()  # new rows, one by one
    IMPORT = enum.auto()  # starts of Python


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCase(Case):
    """What a device does; the floor is the same by hand, on the same server."""

    task: Task
    filling: Filling = Filling.PLAIN


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many rows there are to pull, and how often a run asks for little."""

    rows: int
    large_rows: int
    polls: int

    def rows_of(self, filling: Filling) -> int:
        """Return how many rows this filling has."""
        match filling:
            case Filling.LARGE:
                return self.large_rows
            case Filling.FEW:
                return max(1, self.rows // FEWER)
            case _:
                return self.rows


PUSHES: Final = (
    PushCase(name="new-500", title="new rows by 500", batch_rows=500, target=0.6),
    PushCase(name="new-100", title="new rows by 100", batch_rows=100),
    PushCase(
        name="update-100", title="updates by 100", batch_rows=100, is_update=True, target=0.5
    ),
    PushCase(
        name="tenants-8",
        title="new rows by 100, 8 clients in 8 tenants",
        batch_rows=100,
        clients=TENANTS,
        is_spread=True,
    ),
    PushCase(
        name="one-tenant-8",
        title="new rows by 100, 8 clients in one tenant",
        batch_rows=100,
        clients=DEVICES,
    ),
)
PULLS: Final = (
    PullCase(name="sync", title="first sync by 1,000", kind=Kind.PAGES, target=0.8),
    PullCase(name="stream", title="first sync, a stream", kind=Kind.STREAM, target=0.8),
    PullCase(
        name="stream-gzip",
        title="first sync, a stream with gzip",
        kind=Kind.STREAM,
        encoding="gzip",
        target=0.8,
    ),
    PullCase(
        name="stream-zstd",
        title="first sync, a stream with zstd",
        kind=Kind.STREAM,
        encoding="zstd",
        target=0.8,
    ),
    PullCase(
        name="sync-100-scopes",
        title="first sync by 1,000, 100 scopes",
        kind=Kind.PAGES,
        filling=Filling.MANY_SCOPES,
        target=0.8,
    ),
    PullCase(name="poll", title="nothing new, 1 client", kind=Kind.POLL, target=0.5),
    PullCase(
        name="poll-8", title="nothing new, 8 clients", kind=Kind.POLL, clients=DEVICES, target=0.5
    ),
    PullCase(name="changed", title="100 changed rows", kind=Kind.CHANGED),
    PullCase(
        name="changed-large",
        title="100 changed rows, large tenant",
        kind=Kind.CHANGED,
        filling=Filling.LARGE,
    ),
    PullCase(name="digest", title="digest", kind=Kind.DIGEST),
)
DEVICE: Final = (
    DeviceCase(name="device-sync", title="device: first sync", task=Task.SYNC, target=0.5),
    DeviceCase(
        name="device-sync-few",
        title="device: first sync, few rows",
        task=Task.SYNC,
        filling=Filling.FEW,
    ),
    DeviceCase(name="device-create", title="device: new rows, one by one", task=Task.CREATE),
    DeviceCase(name="device-import", title="device: start of Python", task=Task.IMPORT),
)
AnyCase = PushCase | PullCase | DeviceCase
CASES: Final[tuple[AnyCase, ...]] = (*PUSHES, *PULLS, *DEVICE)
