"""What `sync_check` can find: the ways in which rows and feed may disagree, and what mends them.

    Finding(tenant, collection, row, kind, detail)      kind -> meaning and remedy: EXPLANATIONS

None of it comes about by the engine's own writes. It is what SQL written by hand, a restored
table, or a bug leaves behind. `docs/operate.md` has the same table. Pure.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Final
from uuid import UUID


class Kind(enum.StrEnum):
    """What is wrong."""

    STREAM_MISSING = "stream_missing"
    FLOOR_ABOVE_HEAD = "floor_above_head"
    COLLECTION_UNKNOWN = "collection_unknown"
    SEQ_OUT_OF_RANGE = "seq_out_of_range"
    SEQ_TWICE = "seq_twice"
    ROW_UNLOGGED = "row_unlogged"
    ROW_MISSING = "row_missing"
    ROW_ENTOMBED = "row_entombed"
    VERSION_BELOW_ONE = "version_below_one"
    VERSION_DIFFERS = "version_differs"
    FIELD_VERSION_WRONG = "field_version_wrong"
    PAYLOAD_DIFFERS = "payload_differs"
    DIGEST_DIFFERS = "digest_differs"
    SCOPES_DIFFER = "scopes_differ"
    ENTRY_MISSING = "entry_missing"
    ENTRY_DIFFERS = "entry_differs"
    ENTRY_SUMMED_WRONG = "entry_summed_wrong"
    ENTRY_LEFT_OVER = "entry_left_over"
    ENTRY_WITHOUT_CHANGE = "entry_without_change"
    EXIT_OF_HELD_SCOPE = "exit_of_held_scope"
    EXIT_AFTER_CHANGE = "exit_after_change"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a kind means, and what an operator does about it."""

    meaning: str
    remedy: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong; without a row it is about the tenant's whole feed."""

    tenant_id: UUID
    kind: Kind
    detail: str
    collection: str | None = None
    row_id: str | None = None


# Any edit that changes a value: the change that it makes has the whole row, and all its entries.
_EDIT: Final = "Edit the row in the office: its next change tells all of it."

EXPLANATIONS: Final[dict[Kind, Explanation]] = {
    Kind.STREAM_MISSING: Explanation(
        meaning="The tenant has rows or changes, and no stream that numbers them.",
        remedy="Run `sync_new_epoch` for the tenant.",
    ),
    Kind.FLOOR_ABOVE_HEAD: Explanation(
        meaning="The feed is pruned beyond its end: every cursor is refused.",
        remedy="Set `sync_stream.floor` to `head` at most.",
    ),
    Kind.COLLECTION_UNKNOWN: Explanation(
        meaning="Changes of a collection that is not registered.",
        remedy="Register the collection again, or delete its changes and entries.",
    ),
    Kind.SEQ_OUT_OF_RANGE: Explanation(
        meaning="A change or an exit that no pull reaches: its seq is below 1 or beyond the head.",
        remedy="Run `sync_new_epoch` for the tenant; edit a row, or delete an exit, below 1.",
    ),
    Kind.SEQ_TWICE: Explanation(
        meaning="Several rows under one seq: a page shows one of them.",
        remedy=_EDIT,
    ),
    Kind.ROW_UNLOGGED: Explanation(
        meaning="A row that no device hears of.",
        remedy=_EDIT,
    ),
    Kind.ROW_MISSING: Explanation(
        meaning="Devices hold a row that the table has not.",
        remedy="Insert it again from `sync_change.payload`; then, if it is to go, delete it.",
    ),
    Kind.ROW_ENTOMBED: Explanation(
        meaning="A row that devices were told is deleted.",
        remedy="Set its `version` to the tombstone's, then edit or delete it in the office.",
    ),
    Kind.VERSION_BELOW_ONE: Explanation(
        meaning="A version that no edit can build on.",
        remedy="Set `version` to 1 in the table, then edit the row in the office.",
    ),
    Kind.VERSION_DIFFERS: Explanation(
        meaning="Edits of what devices hold become conflicts, or overwrite others.",
        remedy="Set the row's `version` to the greater of the two, then edit it in the office.",
    ),
    Kind.FIELD_VERSION_WRONG: Explanation(
        meaning="A field's version is no number from 1 to the row's: edits of it conflict.",
        remedy="Set it to the row's `version` in `field_versions`.",
    ),
    Kind.PAYLOAD_DIFFERS: Explanation(
        meaning="Devices hold other values than the table.",
        remedy=_EDIT,
    ),
    Kind.DIGEST_DIFFERS: Explanation(
        meaning="The checksum is not that of the change.",
        remedy=_EDIT,
    ),
    Kind.SCOPES_DIFFER: Explanation(
        meaning="The row is told to others than those who may see it.",
        remedy=_EDIT,
    ),
    Kind.ENTRY_MISSING: Explanation(
        meaning="The feed of a scope lacks the row.",
        remedy=_EDIT,
    ),
    Kind.ENTRY_DIFFERS: Explanation(
        meaning="The feed of a scope has the row at another seq or with another op.",
        remedy=_EDIT,
    ),
    Kind.ENTRY_SUMMED_WRONG: Explanation(
        meaning="An entry has another digest than its change, or a bucket that is not its id's: "
        "replicas that are right repair themselves in vain.",
        remedy="Edit the row in the office; the bucket of a `scope_exit` is the first byte of its "
        "id's SHA-256: set it by SQL.",
    ),
    Kind.ENTRY_LEFT_OVER: Explanation(
        meaning="The feed of a scope has a row that is not in it.",
        remedy="Add the scope to `sync_change.scopes`, then edit the row in the office.",
    ),
    Kind.ENTRY_WITHOUT_CHANGE: Explanation(
        meaning="The feed of a scope names a row that the feed does not have.",
        remedy="Delete the entry.",
    ),
    Kind.EXIT_OF_HELD_SCOPE: Explanation(
        meaning="Devices were told to forget a row that is theirs.",
        remedy=_EDIT,
    ),
    Kind.EXIT_AFTER_CHANGE: Explanation(
        meaning="Devices of two scopes are told last to forget a row that is theirs.",
        remedy=_EDIT,
    ),
}


def render_table() -> str:
    """Return the table of `docs/operate.md`."""
    lines = [f"| `{k}` | {each.meaning} | {each.remedy} |" for k, each in EXPLANATIONS.items()]
    return "\n".join(["| what | meaning | remedy |", "|---|---|---|", *lines])
