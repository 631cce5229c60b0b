"""Local trees: the table that queries read equals what the merge says of every row, always."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from phone import Phone
from world import COLLECTIONS, MEMORY, World, steps_and_restores

from fieldsync.trees import FEW
from fieldsync.wire import parse_object


def check_trees(phone: Phone) -> None:
    """Every row with an edit has its line, as the merge makes it, and no other row has one."""
    engine = phone.client._engine
    connection = engine._store.connection
    overlaid = set(
        connection.execute(
            "SELECT collection, row_id FROM outbox UNION SELECT collection, row_id FROM acked"
        )
    )
    lines = {
        (collection, row_id): (version, text, is_pending)
        for collection, row_id, version, text, is_pending in connection.execute(
            "SELECT * FROM local"
        )
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
@given(steps_and_restores)
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
    phone.sync()
    second.sync()
    second["work_orders"].update("w03", {"title": "mine"})
    for name in names:
        server.edit("work_orders", name, note="theirs")

    second.pull()

    check_trees(second)
    row = second["work_orders"].query(title="mine")[0]
    assert (row.id, row.version, row.data["note"], row.is_pending) == ("w03", 2, "theirs", True)
    assert COLLECTIONS[0] == "work_orders"


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
