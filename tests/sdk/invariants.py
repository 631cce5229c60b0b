"""Invariants: what is true of every history, whatever happened in it.

W1 no_work_is_lost, no_delete_is_lost,                 W6 groups_stand_or_fall_whole
   no_edit_is_overwritten_unseen
W2 nothing_is_applied_twice                            W7 versions_are_dense
W3 replicas_equal_the_server                           W8 a_key_means_one_request,
W4 cursor_tells_what_the_replica_holds                    no_work_is_sent_under_two_keys
W5 nobody_works_in_anothers_name                       W9 outboxes_are_empty
                                                       W10 server_knows_every_request

Each is a plain replay of what `WatchedServer` wrote down, against what the phones hold.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from watched import OFFICE, canon

if TYPE_CHECKING:
    from mortal import MortalPhone
    from records import Visit, Written
    from world import World

STATUSES = frozenset({200, 304, 401, 410, 413})  # what a server in order says to an SDK in order
ALL = 1_000  # rows; a history has a few
SERVERS_OWN = frozenset({"number"})  # fields that only the server gives


def check(world: World) -> None:
    """All of them, once all is quiet."""
    for invariant in AT_THE_END:
        invariant(world)


def values_waiting(phone: MortalPhone) -> set[str]:
    """Values that are in the phone's outbox, acked but unseen, or in its issues.

    What was acked is given back to a restored server by a phone that hears of the restore: one
    that has no cursor yet, or not any more, cannot.
    """
    store = phone.client._engine._store
    acked = " UNION ALL SELECT data FROM acked" if store.get_meta("cursor") else ""
    texts = store.writer.execute(f"SELECT data FROM outbox{acked}")
    values = {canon(value) for (text,) in texts for value in json.loads(text).values()}
    return values | values_in_issues(phone)


def values_in_issues(phone: MortalPhone) -> set[str]:
    """Values that wait for a person."""
    return {canon(value) for issue in phone.client.issues() for value in issue.mine.values()}


def last_of_each(world: World) -> dict[tuple[Any, ...], Written]:
    """The last value that each person wrote on each phone into each field."""
    return {each.place: each for each in world.written}


def no_work_is_lost(world: World) -> None:
    """W1: what a person wrote last has come to the server, or is an issue that shows it.

    Earlier values of the same field may go with later ones; what its writer deleted, discarded or
    lost with the phone is not looked for.
    """
    safe = world.server.reached().union(*(values_in_issues(phone) for phone in world.phones))
    lost = [each for each in last_of_each(world).values() if each.value not in safe]
    assert lost == []


def no_delete_is_lost(world: World) -> None:
    """W1: a row that somebody deleted is gone, or an issue says why it is not."""
    if world.server.epoch > 1:  # it comes back with the backup
        return
    issues = {
        (issue.collection, issue.row_id)
        for phone in world.phones
        for issue in phone.client.issues()
        if issue.op == "delete"
    }
    alive = {name for name, row in world.server.state.rows.items() if not row.is_deleted}
    assert [each for each in world.deleted if each.must_be and each.name in alive - issues] == []


def no_edit_is_overwritten_unseen(world: World) -> None:
    """W1: nobody's acknowledged edit is undone by somebody who had not seen it.

    A value that takes another's place was written by somebody who saw that one, or saw one that
    was written over it, on the same phone. A restored server gives the same version numbers
    again, to other edits: there the protocol cannot promise this, and it is not asked.
    """
    if world.server.epoch > 1:
        return
    for change in world.server.changes:
        if change.user == OFFICE or change.before == 0:
            continue
        if change.is_delete:
            views = [each.view for each in world.deleted if each.name == change.name]
            assert any(_has_seen_all(world, view, change.old) for view in views), change
            continue
        for field, value in change.new.items():
            old = change.old.get(field, value)
            assert old == value or _has_seen(world, canon(value), canon(old)), (field, change)


def _has_seen_all(world: World, view: dict[str, Any], row: dict[str, Any]) -> bool:
    fields = row.keys() - SERVERS_OWN
    return fields <= view.keys() and all(
        row[field] == view[field] or _has_seen(world, canon(view[field]), canon(row[field]))
        for field in fields
    )


def _has_seen(world: World, value: str, other: str) -> bool:
    """Whether `value` was written over `other`, or over what was written over it, and so on."""
    left, passed = [value], {value}
    while left:
        for seen in world.seen.get(left.pop(), set()) - passed:
            passed.add(seen)
            left.append(seen)
    return other in passed


def nothing_is_applied_twice(world: World) -> None:
    """W2: no value comes into its field twice, and no key carries out a mutation twice.

    Unless a person says so: "mine", of an issue, may bring back what they wrote over since.
    """
    times = Counter(world.server.first)
    for change in world.server.changes:
        times.update(
            (change.name, field, canon(value))
            for field, value in change.new.items()
            if change.old.get(field) != value
        )
    twice = [what for what, number in times.items() if number > 1]
    assert [what for what in twice if what[-1] not in world.chosen] == []
    carried_out = [(device, key, row_id) for device, key, _, row_id in world.server.applied]
    assert len(carried_out) == len(set(carried_out))


def replicas_equal_the_server(world: World) -> None:
    """W3: each phone shows what the server has for its user, and knows it at the same version."""
    for phone in world.phones:
        store = phone.client._engine._store
        for collection in ("work_orders", "inspections"):
            rows = world.server.visible(phone.user, collection)
            assert phone.view(collection) == {row_id: row.data for row_id, row in rows.items()}
            held = {
                row_id: version for row_id, version, _ in store.list_slice(collection, "", ALL)
            }
            assert held == {row_id: row.version for row_id, row in rows.items()}


def cursor_tells_what_the_replica_holds(world: World, phone: MortalPhone) -> None:
    """W4: at any moment, the replica has every change up to its cursor, and has let go of the rest.

    So no change is ever skipped: it is behind the cursor, or in the replica. (While a first sync
    or a fresh one is under way, rows that left may still be there: its end takes them away.)
    """
    store, server = phone.client._engine._store, world.server
    cursor = store.get_meta("cursor")
    if cursor is None or store.get_meta("is_fresh"):
        return
    epoch, seq = map(int, cursor.split(":")[:2])
    if epoch != server.epoch:
        return
    user = server.users[phone.user]
    for name, told in server.state.feed.items():
        row, hidden = server.state.rows[name], server.hidden.get((user, *name))
        held = store.get_row(*name)
        if hidden is not None and hidden <= seq:
            assert held is None, (name, "left")
        elif hidden is None and told <= seq and row.is_deleted:
            assert held is None, (name, "deleted")
        elif hidden is None and told <= seq:
            assert held is not None, (name, "skipped")
            assert held.version >= row.version, (name, held.version, row.version)


def nobody_works_in_anothers_name(world: World) -> None:
    """W5: what reaches the server in a user's name was written by that user."""
    users = {user: username for username, user in world.server.users.items()}
    for change in world.server.changes:
        if change.user == OFFICE:
            continue
        for field, value in change.new.items():
            if field not in SERVERS_OWN and change.old.get(field) != value:
                assert world.authors[canon(value)] == users[change.user], change


def groups_stand_or_fall_whole(world: World) -> None:
    """W6: after every push, of each group all has come to the server, or nothing.

    Asked at each push, so that no reader ever sees half of one.
    """
    reached = world.server.reached()
    for visit in world.visits:
        assert _is_all_or_none(visit, reached), visit


def _is_all_or_none(visit: Visit, reached: set[str]) -> bool:
    there = [value in reached for _, value in visit.members]
    return not any(there) or (visit.is_whole and all(there))


def versions_are_dense(world: World) -> None:
    """W7: each version follows on its predecessor."""
    assert [each for each in world.server.changes if each.version != each.before + 1] == []


def a_key_means_one_request(world: World) -> None:
    """W8: whatever was sent under a key, it was the same bytes; so the answer is the same."""
    bodies: dict[str, set[bytes]] = {}
    for key, body in world.server.pushes():
        bodies.setdefault(key, set()).add(body)
    assert {key: each for key, each in bodies.items() if len(each) > 1} == {}


def no_work_is_sent_under_two_keys(world: World) -> None:
    """W8: what a key has carried out is not sent again under another one.

    Two keys for one mutation are right only where the first was surely not carried out: a batch
    that was too large, or a mutation that was refused and that a person sends again. A phone with
    an older store, or before a restored server, knows no better.
    """
    if world.server.epoch > 1 or world.has_old_stores:
        return
    done = {
        (change.name, canon(value)): (number, change.key)
        for number, change in enumerate(world.server.changes)
        for field, value in change.new.items()
        if change.old.get(field) != value and change.key
    }
    for sent_at, _, key, mutation in world.server.sent:
        name = (mutation["collection"], mutation["id"])
        for value in mutation.get("data", {}).values():
            number, by = done.get((name, canon(value)), (sent_at, key))
            is_parted = bool({by, key} & world.server.too_large)
            assert number >= sent_at or by == key or is_parted, (by, key, mutation)


def outboxes_are_empty(world: World) -> None:
    """W9: a good link and a minute's waits are enough to send and to see everything."""
    for phone in world.phones:
        status = phone.client.status()
        assert (status.pending, status.sent, status.acked_unseen) == (0, 0, 0)


def server_knows_every_request(world: World) -> None:
    """W10: the server never had to call a request wrong, nor a key used again."""
    assert world.server.statuses.keys() <= STATUSES


AT_THE_END = (
    no_work_is_lost,
    no_delete_is_lost,
    no_edit_is_overwritten_unseen,
    nothing_is_applied_twice,
    replicas_equal_the_server,
    nobody_works_in_anothers_name,
    groups_stand_or_fall_whole,
    versions_are_dense,
    a_key_means_one_request,
    no_work_is_sent_under_two_keys,
    outboxes_are_empty,
    server_knows_every_request,
)
