"""Local trees: the table that queries read equals what the merge says of every row, always."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from histories import MEMORY, restores
from hypothesis import HealthCheck, given, settings
from phone import Phone
from world import World

from fieldsync.merge import Edit
from fieldsync.outbox import Ack, Entry
from fieldsync.store import ServerRow
from fieldsync.trees import FEW
from fieldsync.wire import Op, parse_object


def check_trees(phone: Phone) -> None:
    """Every row with an edit has its line, as the merge makes it, and no other row has one."""
    engine = phone.client._engine
    writer = engine._store.writer
    overlaid = set(
        writer.execute(
            "SELECT collection, row_id FROM outbox UNION SELECT collection, row_id FROM acked AS a"
            " WHERE NOT EXISTS (SELECT 1 FROM replica AS r WHERE (r.collection, r.row_id) ="
            " (a.collection, a.row_id) AND r.version >= a.version)"
        )
    )
    lines = {
        (collection, row_id): (version, text, is_pending)
        for collection, row_id, version, text, is_pending in writer.execute("SELECT * FROM local")
    }
    assert lines.keys() == overlaid
    for name, (version, text, is_pending) in lines.items():
        server = engine._store.get_row(*name)
        outbox = engine._outbox
        assert (None if text is None else parse_object(text)) == engine.local.view(*name)
        assert version == (server.version if server else None)
        assert bool(is_pending) == bool(outbox.get_pending(*name) or outbox.get_sent(*name))


def live(drawn: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        world = World(Path(folder))
        try:
            for step in drawn:
                world.do(step)
                for phone in world.phones:
                    check_trees(phone)
            world.heal()
            for phone in world.phones:
                check_trees(phone)
        finally:
            world.close()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(restores)
def test_local_trees_are_what_the_merge_says(drawn: list[tuple[Any, ...]]) -> None:
    """After each step of any history: edits, lost answers, pulls, restores of the server."""
    live(drawn)


def test_a_page_moves_the_trees_of_the_rows_that_were_edited_in_it(
    server: Any, phone: Any, second: Any
) -> None:
    """One of them among many, so that they are not looked at one by one."""
    names = [f"w{at:02}" for at in range(2 * FEW)]
    for name in names:
        phone["work_orders"].create({"title": "old", "note": ""}, id=name)
    phone.push()
    check_trees(phone)
    phone.pull()  # nothing is left of the edits
    check_trees(phone)
    second.sync()
    second["work_orders"].update("w03", {"title": "mine"})
    for name in names:
        server.edit("work_orders", name, note="theirs")

    second.pull()

    check_trees(second)
    row = second["work_orders"].query(title="mine")[0]
    assert (row.id, row.version, row.data["note"], row.is_pending) == ("w03", 2, "theirs", True)


def test_another_user_begins_without_local_trees(server: Any, phone: Any) -> None:
    """Nothing of the first one's rows shows, and no listener is left with them."""
    phone["work_orders"].create({"title": "hers"}, id="w1")
    phone.push()
    assert phone.client.status().acked_unseen == 1
    seen: list[Any] = []
    phone["work_orders"].on_change(seen.append)

    phone.login("tom")

    assert phone["work_orders"].all() == []
    assert phone["work_orders"].query(title="hers") == []
    assert [change.rows for change in seen] == [{"work_orders": {"w1"}}]
    check_trees(phone)


NAME = ("work_orders", "w1")
SERVER_ROW = ServerRow(collection=NAME[0], row_id=NAME[1], version=1, text="{}")
ENTRY = Entry(
    collection=NAME[0],
    row_id=NAME[1],
    edit=Edit(op=Op.UPDATE, data={"a": 1}, base_version=1),
    base=None,
    created_at="",
)
ACK = Ack(collection=NAME[0], row_id=NAME[1], edit=ENTRY.edit, version=2, basis=2)


@pytest.mark.parametrize(
    "write",
    [
        lambda store, outbox: store.put_rows([(*NAME, 1, "{}", 1)]),
        lambda store, outbox: store.advance_row(SERVER_ROW),
        lambda store, outbox: store.drop_rows([NAME]),
        lambda store, outbox: outbox.add(ENTRY),
        lambda store, outbox: outbox.replace_edit(ENTRY, ENTRY.edit, revision=2),
        lambda store, outbox: outbox.remove(ENTRY),
        lambda store, outbox: outbox.add_ack(ACK, generation=0),
        lambda store, outbox: outbox.clear_acks(*NAME),
        lambda store, outbox: outbox.take_acks(),
        lambda store, outbox: outbox.clear_acks_before(1),
        lambda store, outbox: outbox.keep_acks(["notes"]),
    ],
)
def test_whatever_writes_a_tree_says_so(phone: Any, write: Any) -> None:
    """Each by itself: no caller need know what makes a local tree stale."""
    engine = phone.client._engine
    store, outbox = engine._store, engine._outbox
    with store.transaction():
        outbox.add_ack(ACK, generation=0)
    told: list[Any] = []
    phone.client.on_change(told.append)

    with store.transaction():
        write(store, outbox)

    assert [change.rows for change in told] == [{NAME[0]: {NAME[1]}}]


def test_row_of_a_fresh_pull_that_did_not_show_it_has_no_tree(
    server: Any, phone: Any, second: Any
) -> None:
    """It was acked, and no pull ever brought it: neither here nor there is anything of it."""
    phone["work_orders"].create({"title": "x"}, id="w1")
    phone.push()
    server.hide("tess", "work_orders", "w1")
    server.gone_code = "cursor_expired"

    phone.pull()
    phone.pull()

    check_trees(phone)
    assert phone["work_orders"].all() == []
