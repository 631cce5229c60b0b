"""Digest and repair: a phone proves that it holds what the server holds, and mends what it lost."""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.accounts.models import Membership
from backend.fieldwork.models import Site
from sync import local_edits
from sync.models import Stream
from tests.phones import Phone, World, create, delete, new_id, update
from tests.replicas import DIGEST, ROWS, ExactPhone, Row, bucket_of, digest_of
from tests.scenarios.reading import outcomes

NO_SUM = {"count": 0, "checksum": "0" * 16, "buckets": {}}


@pytest.fixture
def exact(alice: Phone) -> ExactPhone:
    """Return alice's phone, empty, as one that keeps bytes."""
    return ExactPhone.like(alice)


def orders(world: World, count: int, **data: Any) -> list[dict[str, Any]]:
    return [create("work_orders", **world.order(**data)) for _ in range(count)]


# --- proof ---------------------------------------------------------------------------------


class Day:
    """What happens to a tenant in random order: work, moves, reassignments, deletions."""

    def __init__(self, world: World, people: list[ExactPhone], rng: random.Random) -> None:
        self.world, self.people, self.rng = world, people, rng
        self.boss = ExactPhone.like(world.hire("dispatcher"))
        self.steps = [
            self.write, self.edit, self.reassign, self.drop, self.move, self.look, self.send_elsewhere
        ]  # fmt: skip

    def happen(self, steps: int) -> None:
        for _ in range(steps):
            self.rng.choice(self.steps)()

    def write(self) -> None:
        """Write a work order and a note, with what JSON escapes in them."""
        title = f'{self.world.canary} „Pumpe“ \\ "{self.rng.random()}"\n🚰'
        site = self.rng.choice([self.world.site, self.world.other_site])
        order = create("work_orders", **self.world.order(title=title, site=site))
        self.boss.push(order, create("notes", work_order=order["id"], text="rost \u2028 ä"))

    def edit(self) -> None:
        self._push_about_one(lambda row_id, version: update(
            "work_orders", row_id, version, priority=self.rng.randint(1, 5)))  # fmt: skip

    def reassign(self) -> None:
        person = self.rng.choice([*(str(p.user_id) for p in self.people), None])
        self._push_about_one(
            lambda row_id, version: update("work_orders", row_id, version, assignee=person)
        )

    def drop(self) -> None:
        """Delete a note, and so leave a work order that can be deleted."""
        for collection in ("notes", "work_orders"):
            self._push_about_one(
                lambda row_id, version, name=collection: delete(name, row_id, version), collection
            )

    def move(self) -> None:
        """Move a site, and all that hangs below it, to another territory."""
        site = Site.objects.get(pk=self.rng.choice([self.world.site, self.world.other_site]))
        site.territory_id = uuid.UUID(self.rng.choice([self.world.cardiff, self.world.newport]))
        site.save()

    def send_elsewhere(self) -> None:
        """Give somebody other territories, and so another slice of the tenant."""
        both = [uuid.UUID(self.world.cardiff), uuid.UUID(self.world.newport)]
        held = self.rng.sample(both, self.rng.randint(0, 2))
        person = self.rng.choice(self.people)
        Membership.objects.filter(user_id=person.user_id).update(territories=held)

    def look(self) -> None:
        self.rng.choice(self.people).pull(limit=self.rng.randint(1, 5))

    def _push_about_one(self, mutation: Any, collection: str = "work_orders") -> None:
        self.boss.pull()
        found = sorted(key for key in self.boss.exact if key[0] == collection)
        if found:
            key = self.rng.choice(found)
            self.boss.push(mutation(key[1], self.boss.exact[key].version))


@pytest.mark.parametrize("seed", range(4))
def test_every_replica_proves_that_it_equals_the_server(
    seed: int, wales: World, northwind: World
) -> None:
    """Whatever happened, in whatever order they heard of it: byte for byte, by 16 digits."""
    homes = [[wales.cardiff], [wales.newport], [], [wales.cardiff, wales.newport]]
    people = [ExactPhone.like(wales.hire(territories=held)) for held in homes]
    day = Day(wales, people, random.Random(seed))

    day.happen(steps=60)

    for phone in [*people, day.boss]:
        phone.prove()
    assert len(day.boss.exact) > 10


def test_digest_is_computed_as_the_protocol_says(exact: ExactPhone, wales: World) -> None:
    """From the id, the version and the bytes: nothing that an app would have to ask us for."""
    (order,) = orders(wales, 1, title=f'{wales.canary} Café "x" \U0001f6b0')
    exact.push(order)

    exact.pull()

    sums = exact.digest()["collections"]["work_orders"]
    row = exact.exact["work_orders", order["id"]]
    checksum = f"{digest_of(order['id'], row):016x}"
    assert json.loads(row.data)["title"].endswith("\U0001f6b0")
    assert sums == {
        "count": 1,
        "checksum": checksum,
        "buckets": {str(bucket_of(order["id"])): {"count": 1, "checksum": checksum}},
    }


def test_what_is_empty_costs_nothing(exact: ExactPhone) -> None:
    """Every collection is named, so that an app need not guess; none lists its empty buckets."""
    collections = exact.digest()["collections"]

    assert set(collections) == {
        "territories", "sites", "assets", "work_orders", "notes", "inspections", "parts_used"
    }  # fmt: skip
    assert collections["notes"] == NO_SUM


def test_row_in_two_of_her_scopes_counts_once(exact: ExactPhone, wales: World) -> None:
    """It is in her territory and assigned to her; XORed twice, it would not be there."""
    exact.push(*orders(wales, 3, assignee=str(exact.user_id)))

    assert exact.digest()["collections"]["work_orders"]["count"] == 3
    exact.prove()


def test_rows_that_left_or_were_deleted_do_not_count(
    exact: ExactPhone, dora: Phone, wales: World
) -> None:
    """Their entries stay in the feed; they are no part of what she holds."""
    stays, leaves, dies = orders(wales, 3, site=wales.other_site, assignee=str(exact.user_id))
    dora.push(stays, leaves, dies)
    exact.prove()

    dora.push(
        update("work_orders", leaves["id"], 1, assignee=None),
        delete("work_orders", dies["id"], 1),
    )

    assert exact.digest()["collections"]["work_orders"]["count"] == 1
    exact.prove()


def test_row_that_left_one_scope_and_is_in_another_counts_once(
    exact: ExactPhone, dora: Phone, wales: World
) -> None:
    """She let go of it as its assignee, and holds it with its territory."""
    (order,) = orders(wales, 1, assignee=str(exact.user_id))
    dora.push(order)

    dora.push(update("work_orders", order["id"], 1, assignee=None))

    assert exact.digest()["collections"]["work_orders"]["count"] == 1
    exact.prove()


def test_nothing_of_another_tenant_or_scope_counts(
    exact: ExactPhone, wales: World, northwind: World
) -> None:
    """Not even under the same ids; and no bucket of theirs can be asked for."""
    nina = northwind.hire("dispatcher")
    mine = orders(wales, 5)
    exact.push(*mine)
    exact.pull()
    before = exact.digest()["collections"]

    hers = [{**each, "data": northwind.order()} for each in [*mine, *orders(wales, 5)]]
    nina.push(*hers)
    far = orders(wales, 5, site=wales.other_site)
    wales.hire("dispatcher").push(*far)

    assert exact.digest()["collections"] == before
    for number in {
        bucket_of(order["id"]) for order in [*hers, *far]
    }:  # each searched for canaries
        assert set(exact.fetch("work_orders", number)) <= exact.exact.keys()


def test_collections_narrow_the_digest(exact: ExactPhone, wales: World) -> None:
    """A kiosk that shows sites does not sum up the work orders."""
    exact.push(*orders(wales, 2))
    whole = exact.digest()["collections"]

    narrow = exact.send("GET", f"{DIGEST}?collections=sites,notes").json()["collections"]

    assert narrow == {name: whole[name] for name in ("notes", "sites")}


# --- behind --------------------------------------------------------------------------------


def test_digest_says_whether_there_is_something_to_pull_first(
    exact: ExactPhone, bob: Phone, wales: World
) -> None:
    """A replica that is behind differs, and has nothing to repair."""
    exact.pull()
    assert exact.digest()["behind"] is False

    bob.push(*orders(wales, 1))
    assert exact.digest()["behind"] is True

    exact.pull()
    assert exact.digest()["behind"] is False


def test_deletion_and_exit_are_something_to_pull(
    exact: ExactPhone, dora: Phone, wales: World
) -> None:
    """They bring no row, but take one."""
    dies, leaves = orders(wales, 2, site=wales.other_site, assignee=str(exact.user_id))
    dora.push(dies, leaves)
    for mutation in (
        delete("work_orders", dies["id"], 1),
        update("work_orders", leaves["id"], 1, assignee=None),
    ):
        exact.pull()
        dora.push(mutation)

        assert exact.digest()["behind"] is True


def test_what_happens_to_others_leaves_nobody_behind(
    exact: ExactPhone, dora: Phone, wales: World
) -> None:
    """Else a phone of a busy tenant would never come to compare."""
    exact.pull()

    dora.push(*orders(wales, 1, site=wales.other_site))

    assert exact.digest()["behind"] is False


def test_other_scopes_or_collections_than_the_cursor_knows_are_something_to_pull(
    exact: ExactPhone, wales: World
) -> None:
    """Before a single row changed: what she may see now, no digest of hers has."""
    exact.pull()
    narrower = exact.send("GET", f"{DIGEST}?cursor={exact.cursor}&collections=sites").json()
    assert narrower["behind"] is True
    Membership.objects.filter(user_id=exact.user_id).update(territories=[uuid.UUID(wales.newport)])
    assert exact.digest()["behind"] is True

    exact.pull_page(limit=1)
    assert exact.digest()["behind"] is True

    exact.prove()
    assert ("sites", wales.other_site) in exact.exact
    assert ("sites", wales.site) not in exact.exact


def test_without_a_cursor_nothing_is_said_of_it(exact: ExactPhone) -> None:
    assert "behind" not in exact.digest()


# --- repair --------------------------------------------------------------------------------


def test_damaged_replica_fetches_the_damaged_buckets_alone(
    exact: ExactPhone, wales: World
) -> None:
    """A row lost, one altered, one of an older version, one too many: four buckets of hundreds."""
    exact.push(*orders(wales, 200))
    exact.prove()
    whole = dict(exact.exact)
    apart = {
        bucket_of(row_id): (name, row_id) for name, row_id in exact.exact if name == "work_orders"
    }
    lost, altered, older = list(apart.values())[:3]
    ghost = next(
        ("work_orders", each)
        for each in (new_id() for _ in range(10_000))
        if bucket_of(each) not in apart
    )
    del exact.exact[lost]
    exact.exact[altered] = Row(1, whole[altered].data.replace(b"pump", b"pomp"))
    exact.exact[older] = Row(0, whole[older].data)
    exact.exact[ghost] = whole[lost]

    fetched = exact.repair()

    damaged = [lost, altered, older, ghost]
    assert fetched == sorted((name, bucket_of(row_id)) for name, row_id in damaged)
    assert exact.exact == whole
    assert exact.differing() == []


def test_two_rows_that_changed_places_are_noticed(exact: ExactPhone, wales: World) -> None:
    """The id is part of the digest: XOR alone would take them for one another."""
    exact.push(*orders(wales, 2))
    exact.pull()
    one, other = [key for key in exact.exact if key[0] == "work_orders"]
    exact.exact[one], exact.exact[other] = exact.exact[other], exact.exact[one]

    assert exact.repair() != []

    exact.prove()


def test_empty_replica_with_a_cursor_at_the_head_is_made_whole(
    exact: ExactPhone, wales: World
) -> None:
    """As after a file of the app was lost and its settings were not."""
    exact.push(*orders(wales, 20))
    exact.pull()
    whole, exact.exact = exact.exact, {}

    exact.repair(limit=1)

    assert exact.exact == whole


def test_rows_are_sent_again_as_a_pull_sends_them(
    exact: ExactPhone, bob: Phone, wales: World
) -> None:
    """Byte for byte, also in what they say of the device that made them."""
    mine, his = orders(wales, 2, title=f"{wales.canary} \\ ä \u2028")
    exact.push(mine)
    bob.push(his)
    pulled = exact.send("GET", "/api/v1/sync/pull").content

    for order, own in ((mine, b"true"), (his, b"false")):
        query = f"collection=work_orders&bucket={bucket_of(order['id'])}"
        lines = exact.send("GET", f"{ROWS}?{query}").content
        line = lines[lines.index(b'"changes":[') + 11 : -2]

        assert b'"own":' + own in line
        assert line in pulled


def test_what_left_her_or_was_deleted_is_not_sent_again(
    exact: ExactPhone, dora: Phone, wales: World
) -> None:
    """Its entries are still in her scopes' feeds, and tell her to forget it."""
    leaves, dies = orders(wales, 2, site=wales.other_site, assignee=str(exact.user_id))
    dora.push(leaves, dies)
    buckets = [bucket_of(order["id"]) for order in (leaves, dies)]
    assert all(exact.fetch("work_orders", number) for number in buckets)

    dora.push(
        update("work_orders", leaves["id"], 1, assignee=None),
        delete("work_orders", dies["id"], 1),
    )

    assert [exact.fetch("work_orders", number) for number in buckets] == [{}, {}]


def test_bucket_brings_a_row_of_two_scopes_once_and_no_other_collection(
    exact: ExactPhone, wales: World
) -> None:
    """One id in two collections, and so in one bucket: the row asked for comes, in one line."""
    (order,) = orders(wales, 1, assignee=str(exact.user_id))
    site = local_edits.create("sites", {"name": "s", "territory": wales.cardiff}, order["id"])
    local_edits.apply(wales.tenant.pk, [site])
    exact.push(order)

    for collection in ("work_orders", "sites"):
        for limit in (1, 2):
            found = exact.fetch(collection, bucket_of(order["id"]), limit)
            assert (collection, order["id"]) in found


def test_bucket_of_many_rows_comes_in_pages(exact: ExactPhone, wales: World) -> None:
    """In order of their ids, none twice, whatever is written meanwhile."""
    ids = [row_id for row_id in (new_id() for _ in range(20_000)) if bucket_of(row_id) == 7][:20]
    made = [local_edits.create("sites", {"name": n, "territory": wales.cardiff}, n) for n in ids]
    local_edits.apply(wales.tenant.pk, made)

    for limit in (1, 3, 20):
        assert sorted(exact.fetch("sites", 7, limit)) == sorted(("sites", n) for n in ids)
    last = max(ids).upper()  # is the same id
    page = exact.send("GET", f"{ROWS}?collection=sites&bucket=7&after={last}").json()
    assert (page["changes"], page["has_more"]) == ([], False)


def test_rows_that_were_edited_meanwhile_come_newer_and_once_more(
    exact: ExactPhone, bob: Phone, wales: World
) -> None:
    """Between digest and rows the world goes on: the pull that follows changes nothing."""
    made = orders(wales, 3)
    exact.push(*made)
    exact.pull()
    key = ("work_orders", made[0]["id"])
    exact.exact[key] = Row(1, b"{}")
    (differing,) = exact.differing()
    bob.push(
        update("work_orders", made[0]["id"], 1, priority=1),
        update("work_orders", made[1]["id"], 1, priority=1),
    )

    row = exact.fetch(*differing)[key]
    exact.exact[key] = Row(row.version, bytes(row.data))

    assert row.version == 2
    assert exact.pull() != []
    assert exact.differing() == []


# --- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("bucket=1", "collection"),
        ("collection=nonsense&bucket=1", "collection"),
        ("collection=sites", "bucket"),
        *((f"collection=sites&bucket={n}", "bucket") for n in ("256", "-1", "x", "1.0", "", "²", "9" * 40)),
        *((f"collection=sites&bucket=1&limit={n}", "limit") for n in ("0", "1001", "x")),
        *((f"collection=sites&bucket=1&after={n}", "after") for n in ("%00", "a" * 65)),
    ],
)  # fmt: skip
def test_bad_parameters_of_rows_are_named(query: str, path: str, alice: Phone) -> None:
    """A 400 that says which, before anything is looked up."""
    answer = alice.send("GET", f"{ROWS}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid")
    assert answer.json()["errors"][0]["path"] == path


def test_unknown_collection_of_a_digest_is_named(alice: Phone) -> None:
    answer = alice.send("GET", f"{DIGEST}?collections=sites,nonsense")

    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "collections")


@pytest.mark.parametrize("cursor", ["x", "%00", "é", "A" * 5_000])
def test_nonsense_cursor_is_a_400(cursor: str, alice: Phone) -> None:
    answer = alice.send("GET", f"{DIGEST}?cursor={cursor}")

    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid")


@pytest.mark.past_the_engine
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"epoch": uuid.UUID(int=1)}, "epoch_changed"),
        ({"head": 1}, "epoch_changed"),
        ({"floor": 6, "head": 6}, "cursor_expired"),
    ],
)
def test_cursor_that_a_pull_would_not_go_on_from_is_refused_alike(
    change: dict[str, Any], code: str, exact: ExactPhone, wales: World
) -> None:
    """Comparing with a feed that the replica does not follow proves nothing."""
    exact.pull()
    Stream.objects.filter(tenant_id=wales.tenant.pk).update(**change)

    answer = exact.ask_digest()

    assert (answer.status_code, answer.json()["code"]) == (410, code)


def test_nobody_gets_a_digest_without_a_login(api: Any, db: None) -> None:
    assert [api.get(url).status_code for url in (DIGEST, ROWS)] == [401, 401]


# --- cost ----------------------------------------------------------------------------------


def test_unchanged_digest_is_a_304(exact: ExactPhone, bob: Phone, wales: World) -> None:
    """At the price of a look at the head; anything new in the tenant gives the digest again."""
    exact.pull()
    first = exact.ask_digest()
    etag = first["ETag"]
    with CaptureQueriesContext(connection) as queries:
        again = exact.ask_digest(**{"If-None-Match": etag})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", etag)
    assert not any("sync_entry" in query["sql"] for query in queries)
    assert {first["Cache-Control"], again["Cache-Control"]} == {"private, no-cache"}

    bob.push(*orders(wales, 1))

    assert exact.ask_digest(**{"If-None-Match": etag}).json()["behind"] is True


def test_tag_is_of_one_scope_set_and_cursor(exact: ExactPhone, wales: World) -> None:
    """Another's digest is no answer to her, nor is one on another cursor: it says who is behind."""
    exact.pull()
    etag = exact.ask_digest()["ETag"]
    other = ExactPhone.like(wales.hire("dispatcher"))
    other.pull()
    exact.cursor = None

    for phone in (other, exact):
        assert phone.ask_digest(**{"If-None-Match": etag}).status_code == 200


def test_cost_of_a_digest_does_not_grow_with_rows(exact: ExactPhone, wales: World) -> None:
    """Who asks (and the stream with it), and the sums; for a bucket its rows."""

    def costs() -> list[int]:
        urls = (f"{DIGEST}?cursor={exact.cursor}", f"{ROWS}?collection=work_orders&bucket=7")
        counts = []
        for url in urls:
            with CaptureQueriesContext(connection) as queries:
                assert exact.send("GET", url).status_code == 200
            counts.append(len(queries))
        return counts

    exact.pull()
    before = costs()
    more = [local_edits.create("work_orders", wales.order()) for _ in range(300)]
    local_edits.apply(wales.tenant.pk, more)

    assert costs() == before == [2, 2]


def test_all_of_them_are_created(dora: Phone, wales: World) -> None:
    """What these stories push is taken: else they would prove that nothing equals nothing."""
    assert outcomes(dora.push(*orders(wales, 2))) == ["created", "created"]
