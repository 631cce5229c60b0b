"""Laws: what is true of every history, whatever happened in it. Each is a replay in O(n). Pure.

W1  nothing_is_lost, no_delete_is_lost,       W6  groups_are_whole
    nothing_is_overwritten_unseen             W7  versions_are_dense
W2  nothing_is_applied_twice                  W8  a_key_has_one_answer
W3  replicas_equal_the_server,                W9  outboxes_drain
    tables_agree                              W10 statuses_are_documented
W4  nothing_is_skipped                        W11 is asked of the stage, when all have gone
W5  nobody_sees_strangers
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tests.faults.campaign.history import (
    NOTES,
    ORDERS,
    TEXTS,
    Committed,
    Deleted,
    Exchange,
    History,
    Name,
    Person,
    Written,
)

OK: Final = 200
DRAIN_S_MAX: Final = 60.0
# To a device in order, besides 0: no answer at all.
STATUSES: Final = frozenset({0, 200, 304, 401, 409, 410, 429, 503})
RETRY: Final = frozenset({429, 503})
Law = Callable[[History], Iterator[str]]


def violations(history: History) -> list[str]:
    """Return what is wrong, each with the law that it breaks; nothing when all is well."""
    found = [f"{code}: {what}" for code, law in LAWS for what in law(history)]
    return found + [f"accident: {what}" for what in history.accidents]


class Replay:
    """The tenant's rows as they were at some seq, and where they were."""

    def __init__(self, history: History) -> None:
        self.rows: dict[Name, Committed] = {}
        self._sites = history.sites

    def take(self, change: Committed) -> None:
        """Go one change further."""
        self.rows[change.name] = change

    def visible(self, person: Person) -> dict[Name, Committed]:
        """Return the rows that a person sees."""
        return {
            name: change
            for name, change in self.rows.items()
            if name[0] in TEXTS and change.op == "upsert" and person.sees(self._territory(change))
        }

    def _territory(self, change: Committed) -> str | None:
        if change.name[0] == NOTES:
            order = self.rows.get((ORDERS, change.data["work_order"]))
            return self._sites.get(order.data.get("site", "")) if order else None
        return self._sites.get(change.data["site"])


def diffs(changes: Sequence[Committed]) -> Iterator[tuple[Committed, str, str, str]]:
    """Yield what people wrote, in its order: change, field, the value before, the new one."""
    known: dict[Name, Committed] = {}
    for change in changes:
        before = known.get(change.name)
        for field in TEXTS.get(change.name[0], ()):
            old = before.data.get(field, "") if before else ""
            new = change.data.get(field, "")
            if new and new != old:
                yield change, field, old, new
        known[change.name] = change


def _reached(history: History) -> set[str]:
    return {new for _, _, _, new in diffs(history.committed)}


def nothing_is_lost(history: History) -> Iterator[str]:
    """What a person wrote last is in the database's history, or in an issue that shows it."""
    safe = _reached(history) | history.given_up
    for replica in history.replicas:
        safe |= {str(value) for _, _, mine in replica.issues for value in mine.values()}
    safe |= _written_over_since_the_restore(history)
    last: dict[object, Written] = {each.place: each for each in history.written}
    for each in last.values():
        if each.value not in safe:
            yield f"lost: {each}"


def _written_over_since_the_restore(history: History) -> set[str]:
    """What a restore has forgotten, of rows that others have brought beyond that version since.

    To the phone that knows of it, it looks as if it had been there: see ADR 23, "Hole".
    """
    last = {change.name: change.version for change in history.committed}
    return {
        new
        for change, _, _, new in diffs(history.forgotten)
        if last.get(change.name, 0) > change.version
    }


def no_delete_is_lost(history: History) -> Iterator[str]:
    """A row that somebody deleted is gone, or an issue says why it is not."""
    if history.is_restored:
        return
    issues = {(name, op) for replica in history.replicas for name, op, _ in replica.issues}
    last = {change.name: change.op for change in history.committed}
    for each in history.deleted:
        if last.get(each.name) == "upsert" and (each.name, "delete") not in issues:
            yield f"not deleted: {each}"


def nothing_is_overwritten_unseen(history: History) -> Iterator[str]:
    """A value that takes another's place was written by somebody who saw that one, or a later.

    A restored server gives the same versions again, to other edits: there it cannot be promised.
    """
    if history.is_restored:
        return
    for change, field, old, new in diffs(history.committed):
        if old and change.device_id and not _has_seen(history, new, old):
            yield f"{change.name} {field}: {new!r} over {old!r}, which its writer had not seen"
    yield from _deleted_unseen(history)


def _deleted_unseen(history: History) -> Iterator[str]:
    views: dict[Name, list[Deleted]] = {}
    for each in history.deleted:
        views.setdefault(each.name, []).append(each)
    known: dict[Name, Committed] = {}
    for change in history.committed:
        before = known.get(change.name)
        if change.op == "delete" and change.name[0] == ORDERS and before:
            seen = [
                all(
                    before.data.get(field, "") in {"", view.view.get(field, "")}
                    or _has_seen(history, view.view.get(field, ""), before.data[field])
                    for field in TEXTS[ORDERS]
                )
                for view in views.get(change.name, [])
            ]
            if not any(seen):
                yield f"{change.name} was deleted by somebody who had not seen {before.data}"
        known[change.name] = change


def _has_seen(history: History, value: str, other: str) -> bool:
    """Whether `value` was written over `other`, or over what was written over it, and so on."""
    left, passed = [value], {value}
    while left:
        for seen in history.seen.get(left.pop(), set()) - passed:
            passed.add(seen)
            left.append(seen)
    return other in passed


def nothing_is_applied_twice(history: History) -> Iterator[str]:
    """No value comes into its field twice, unless a person wanted it once more."""
    times = Counter(
        (change.name, field, new) for change, field, _, new in diffs(history.committed)
    )
    for (name, field, value), number in times.items():
        if number > 1 and value not in history.chosen:
            yield f"{value!r} came {number} times into {field} of {name}"


def replicas_equal_the_server(history: History) -> Iterator[str]:
    """Each device holds and shows what is there for its user, at the same versions."""
    replay = Replay(history)
    for change in history.committed:
        replay.take(change)
    for number, replica in enumerate(history.replicas):
        there = replay.visible(history.people[number])
        wanted = {name: change.version for name, change in there.items()}
        for name in sorted(wanted.keys() | replica.rows.keys()):
            if wanted.get(name) != replica.rows.get(name):
                yield (
                    f"device {number} holds {name} at {replica.rows.get(name)}, "
                    f"the server at {wanted.get(name)}"
                )
            elif replica.view.get(name) != there[name].data:
                yield f"device {number} shows {replica.view.get(name)}, not {there[name].data}"


def tables_agree(history: History) -> Iterator[str]:
    """Rows, changes, entries, stream and receipts tell one story."""
    yield from history.disagreements


def nothing_is_skipped(history: History) -> Iterator[str]:
    """At the end of each sync, a replica has every change up to its cursor, or what replaced it.

    A feed holds the newest change of a row: one that was replaced before the page was read comes
    at its new place, which may be beyond the cursor. And a replica may be ahead of its cursor:
    what it sent itself, and was told of, comes before the pull that shows it.
    """
    sights = sorted(
        (each for each in history.sights if each.epoch == history.epoch), key=lambda s: s.seq
    )
    replay, left = Replay(history), list(reversed(history.committed))
    changes: dict[Name, list[Committed]] = {}
    for change in history.committed:
        changes.setdefault(change.name, []).append(change)
    for sight in sights:
        while left and left[-1].seq <= sight.seq:
            replay.take(left.pop())
        there = replay.visible(history.people[sight.device])
        for name in there.keys() | (sight.versions.keys() & replay.rows.keys()):
            wanted = there[name].version if name in there else None
            held = sight.versions.get(name)
            is_there = held is None if wanted is None else held is not None and held >= wanted
            is_replaced = any(sight.seq < c.seq and c.at <= sight.at for c in changes[name])
            if not is_there and not is_replaced:
                yield f"device {sight.device} at {sight.seq} has {name} at {held}, not {wanted}"


def nobody_sees_strangers(history: History) -> Iterator[str]:
    """No answer and no replica has another tenant's canary in it."""
    for each in history.exchanges:
        if each.strangers:
            yield f"{each.path} showed device {each.device} {sorted(each.strangers)}"


def groups_are_whole(history: History) -> Iterator[str]:
    """All of a group is committed in one transaction, or nothing."""
    if history.is_restored:  # it comes back in parts, as far as it was lost
        return
    at = {(c.name, field, new): c.transaction for c, field, _, new in diffs(history.committed)}
    for visit in history.visits:
        found = {at.get(member) for member in visit.members}
        if len(found) > 1:
            yield f"{visit.members} were committed in {found}"


def nobody_reads_half_a_transaction(history: History) -> Iterator[str]:
    """No sync ends at a place in the feed that is inside of a transaction."""
    spans: dict[int, tuple[int, int]] = {}
    for change in history.committed:
        low, high = spans.get(change.transaction, (change.seq, change.seq))
        spans[change.transaction] = min(low, change.seq), max(high, change.seq)
    for sight in history.sights:
        if sight.epoch == history.epoch:
            for low, high in spans.values():
                if low <= sight.seq < high:
                    yield f"device {sight.device} stands at {sight.seq}, within {low} to {high}"


def versions_are_dense(history: History) -> Iterator[str]:
    """Each version follows on its predecessor, says something new, and comes at a seq of its own.

    A row that only changed its scopes is told again as it is.
    """
    known: dict[Name, Committed] = {}
    last_seq = 0
    for change in history.committed:
        before = known.get(change.name)
        version = before.version if before else 0
        is_same = before is not None and change.data == before.data and change.op == before.op
        if change.version == version and not is_same:
            yield f"{change.name}: version {version} twice, with {change.data}"
        elif change.version not in {version, version + 1}:
            yield f"{change.name}: version {change.version} behind {version}"
        elif change.version == version + 1 and is_same:
            yield f"{change.name}: version {change.version} says nothing new"
        if change.seq <= last_seq:
            yield f"{change.name}: seq {change.seq} behind {last_seq}"
        known[change.name], last_seq = change, change.seq


def a_key_has_one_body(history: History) -> Iterator[str]:
    """Under a key go the same bytes, whenever and however often."""
    for named, sent in _by_key(history).items():
        bodies = {each.body for each in sent}
        if len(bodies) > 1:
            yield f"{named}: {len(bodies)} bodies"


def a_key_has_one_answer(history: History) -> Iterator[str]:
    """Under a key come the same bytes: those that are stored."""
    if history.is_restored:  # what was answered before is forgotten
        return
    for named, sent in _by_key(history).items():
        answers = {each.answer for each in sent if each.status == OK}
        if not answers <= {history.receipts.get(named[1], "none")}:
            yield f"{named}: {len(answers)} answers, not all of them the one that is kept"


def a_retry_keeps_its_key(history: History) -> Iterator[str]:
    """What was sent, and not answered, is sent again under the same key."""
    unanswered: dict[tuple[int, str], str] = {}
    for each in history.exchanges:
        named = (each.device, each.body)
        if not each.key or history.is_restored:
            continue
        if unanswered.setdefault(named, each.key) != each.key:
            yield f"device {each.device} sent one body under {unanswered[named]} and {each.key}"
        if each.status == OK:
            del unanswered[named]


def _by_key(history: History) -> dict[tuple[int, str], list[Exchange]]:
    found: dict[tuple[int, str], list[Exchange]] = {}
    for each in history.exchanges:
        if each.key:
            found.setdefault((each.device, each.key), []).append(each)
    return found


def outboxes_drain(history: History) -> Iterator[str]:
    """A good link and a minute are enough to send and to see everything."""
    for number, replica in enumerate(history.replicas):
        if replica.unsent:
            yield f"device {number} has {replica.unsent} unsent"
    if history.drained_s > DRAIN_S_MAX:
        yield f"it took {history.drained_s:.0f} s"


def statuses_are_documented(history: History) -> Iterator[str]:
    """A device in order is never told that it was wrong, nor that the server was; and when."""
    for each in history.exchanges:
        if each.status not in STATUSES:
            yield f"{each.path} was answered {each.status}"
        elif each.status in RETRY and not each.has_retry_after:
            yield f"{each.path} was answered {each.status} without Retry-After"


LAWS: Final[Sequence[tuple[str, Law]]] = (
    ("W1", nothing_is_lost),
    ("W1", no_delete_is_lost),
    ("W1", nothing_is_overwritten_unseen),
    ("W2", nothing_is_applied_twice),
    ("W3", replicas_equal_the_server),
    ("W3", tables_agree),
    ("W4", nothing_is_skipped),
    ("W5", nobody_sees_strangers),
    ("W6", groups_are_whole),
    ("W6", nobody_reads_half_a_transaction),
    ("W7", versions_are_dense),
    ("W8", a_key_has_one_body),
    ("W8", a_key_has_one_answer),
    ("W8", a_retry_keeps_its_key),
    ("W9", outboxes_drain),
    ("W10", statuses_are_documented),
)
