"""The server that app authors test against: what they set up is what happens."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import fieldsync
from fieldsync.testing import Clock, FakeServer, refusal


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_row_without_its_parent_cannot_be_made_by_others_either(server: FakeServer) -> None:
    """A test that begins with a world that cannot be would prove nothing."""
    with pytest.raises(ValueError, match="dependency_failed"):
        server.create("notes", "n1", work_order="w1", text="x")


def test_row_is_made_once(server: FakeServer) -> None:
    server.create("work_orders", "w1", title="x")

    with pytest.raises(ValueError, match="w1 cannot be made"):
        server.create("work_orders", "w1", title="y")
    assert server.live("work_orders")["w1"]["title"] == "x"


def test_collections_merge_and_have_parents_as_the_test_says(tmp_path: Path) -> None:
    """Not as the demo's do."""
    server = FakeServer(merging={"visits"}, parents={"photos": ("visit", "visits")})
    server.create("work_orders", "w1", a=1, b=1)
    server.create("visits", "v1", a=1, b=1)
    with fieldsync.Client("http://server", store=tmp_path / "a.db", http=server.client()) as phone:
        phone.login("tess", server.password)
        phone.sync()
        for collection, row_id in (("work_orders", "w1"), ("visits", "v1")):
            server.edit(collection, row_id, a=2)
            phone.collection(collection).update(row_id, {"b": 2})
        phone.collection("photos").create({"visit": "v2"})
        phone.collection("notes").create({"work_order": "w2"})

        report = phone.sync()

    assert dict(report.outcomes) == {
        "conflict": 1,
        "merged": 1,
        "dependency_failed": 1,
        "created": 1,
    }


def test_refusal_names_the_field_that_is_wrong() -> None:
    """Or none."""
    invalid = refusal("invalid", "blank", path="text", detail="May not be blank.")

    assert [each["path"] for each in invalid["errors"]] == ["text"]
    assert "errors" not in refusal("forbidden", "role")


def test_offline_ends_with_its_block(server: FakeServer, tmp_path: Path) -> None:
    """Also when the test fails in it."""
    with fieldsync.Client("http://server", store=tmp_path / "a.db", http=server.client()) as phone:
        with pytest.raises(ZeroDivisionError), server.offline():
            raise ZeroDivisionError
        phone.login("tess", server.password)
    assert len(server.seen) == 1


def test_waits_take_time_on_the_clock(clock: Clock) -> None:
    """Which a client tells the server, and stamps its edits with."""
    began_at = clock.now()

    clock.sleep(90)

    assert clock.now() == began_at + timedelta(seconds=90)
    assert clock.waits_s == [90]
