"""What becomes of a mutation: the rules as a table, and their laws for any batch at all."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from sync.plan import Batch, Plan, Rules, decide
from sync.refusals import invalid
from sync.types import (
    Actor,
    ConflictPolicy,
    FieldError,
    Mutation,
    Op,
    Outcome,
    Policy,
    Refusal,
    RowKey,
    RowState,
    Tombstone,
    Wire,
)

TENANT = UUID(int=1)
ALICE = Actor(
    tenant_id=TENANT, user_id=UUID(int=2), device_id=UUID(int=3), scopes=frozenset({"s"})
)
OFFICE = Actor(tenant_id=TENANT, is_system=True)
SCOPES = frozenset({"s"})


def last_writer(current: Wire, edit: Wire, overlap: frozenset[str]) -> Wire | None:
    """A callable policy: titles conflict, all else is overwritten."""
    return None if "title" in overlap else {**current, **edit}


def no_approval(actor: Actor, before: Wire | None, after: Wire | None) -> Refusal | None:
    """A collection's own rule: nobody sets the state to approved."""
    del actor, before
    if after is not None and after.get("state") == "approved":
        return Refusal(
            outcome=Outcome.CONFLICT,
            code="illegal_transition",
            detail="",
            args={"fields": ["state"], "allowed": ["done"]},
        )
    return None


def count_merges(current: Wire, edit: Wire, overlap: frozenset[str]) -> Wire:
    """A callable policy that writes a field which nobody sent."""
    del overlap
    return {**current, **edit, "merges": current["merges"] + 1}


def keep_sealed(actor: Actor, before: Wire | None, after: Wire | None) -> Refusal | None:
    """A collection whose rows nobody deletes."""
    del actor, before
    if after is not None:
        return None
    return Refusal(outcome=Outcome.CONFLICT, code="sealed", detail="")


RULES = {
    "orders": Rules(
        rank=0,
        conflicts=ConflictPolicy.MERGE_FIELDS,
        judge=no_approval,
        server_fields=frozenset({"number"}),
    ),
    "logs": Rules(rank=0, conflicts=count_merges),
    "seals": Rules(rank=0, conflicts=lambda current, _edit, _overlap: current, judge=keep_sealed),
    "forms": Rules(rank=0, conflicts=ConflictPolicy.REJECT),
    "tags": Rules(rank=0, conflicts=last_writer),
    "notes": Rules(rank=1, references={"order": "orders", "form": "forms"}, parent="order"),
    "areas": Rules(rank=0, references={"above": "areas"}, parent="above"),
}


def row(version: int = 1, *, scopes: frozenset[str] = SCOPES, **data: object) -> RowState:
    """A row whose fields were all last written by `version`, unless `fv_…` says otherwise."""
    fields = {k: v for k, v in data.items() if not k.startswith("fv_")}
    versions = dict.fromkeys(fields, version) if version > 1 else {}
    versions |= {
        k.removeprefix("fv_"): int(str(v)) for k, v in data.items() if k.startswith("fv_")
    }
    return RowState(version=version, field_versions=versions, data=fields, scopes=scopes)


def create(
    row_id: str, *, of: str = "orders", group: str | None = None, **data: object
) -> Mutation:
    return Mutation(index=0, op=Op.CREATE, collection=of, id=row_id, group=group, data=data)


def update(
    row_id: str, base: int | None, *, of: str = "orders", group: str | None = None, **data: object
) -> Mutation:
    return Mutation(
        index=0, op=Op.UPDATE, collection=of, id=row_id, base_version=base, group=group, data=data
    )


def delete(
    row_id: str, base: int | None, *, of: str = "orders", group: str | None = None
) -> Mutation:
    return Mutation(
        index=0, op=Op.DELETE, collection=of, id=row_id, base_version=base, group=group
    )


def plan(
    mutations: list[Mutation],
    rows: dict[tuple[str, str], RowState] | None = None,
    policy: Policy = Policy.PER_ROW,
    actor: Actor = ALICE,
    gone: dict[tuple[str, str], Tombstone] | None = None,
    refused: dict[int, Refusal] | None = None,
) -> Plan:
    known = {RowKey(*key): state for key, state in (rows or {}).items()}
    return decide(
        Batch(
            actor=actor,
            policy=policy,
            mutations=[replace(m, index=i) for i, m in enumerate(mutations)],
            rules=RULES,
            rows=known,
            tombstones={RowKey(*key): stone for key, stone in (gone or {}).items()},
            visible=frozenset(key for key, state in known.items() if actor.can_see(state.scopes)),
            refused=refused or {},
        )
    )


def outcomes(found: Plan) -> list[str]:
    return [f"{r.outcome}@{r.version}" if r.version else str(r.outcome) for r in found.results]


def codes(found: Plan) -> list[str | None]:
    return [r.refusal.code if r.refusal else None for r in found.results]


AT5 = {("orders", "w"): row(5, title="a", state="open", note="", fv_title=2, fv_state=5)}
FORM5 = {("forms", "w"): row(5, title="a", state="open", fv_title=2, fv_state=5)}
TAG5 = {("tags", "w"): row(5, title="a", state="open", fv_title=5, fv_state=5)}
HIDDEN = {("orders", "w"): row(5, scopes=frozenset({"elsewhere"}), title="a")}
APPROVED = {("orders", "w"): row(5, title="a", state="approved")}
NUMBERED = {("orders", "w"): row(5, title="a", number=7)}
SEAL5 = {("seals", "w"): row(5, title="a")}
NOTE1 = {("notes", "n"): row(1, order="w", form=None, text="a")}
STONE = {("orders", "w"): Tombstone(version=6, scopes=SCOPES)}
HIDDEN_STONE = {("orders", "w"): Tombstone(version=6, scopes=frozenset({"elsewhere"}))}


@pytest.mark.parametrize(
    ("mutation", "rows", "gone", "expected", "code"),
    [
        # create
        (create("w", title="a"), {}, {}, "created@1", None),
        (create("w", title="a", state="open", note=""), AT5, {}, "unchanged@5", None),
        (create("w", title="b", state="open", note=""), AT5, {}, "conflict@5", "id_taken"),
        (create("w", title="a"), HIDDEN, {}, "conflict", "id_taken"),
        (create("w", title="a"), {}, STONE, "gone", "row_deleted"),
        (create("w", title="a"), {}, HIDDEN_STONE, "conflict", "id_taken"),
        (create("w", state="approved"), {}, {}, "conflict", "illegal_transition"),
        (create("w", title="a", number=None), NUMBERED, {}, "unchanged@5", None),
        # update on the newest version
        (update("w", 5, title="b"), AT5, {}, "updated@6", None),
        (update("w", 5, title="a"), AT5, {}, "unchanged@5", None),
        (update("w", 5, state="approved"), AT5, {}, "conflict@5", "illegal_transition"),
        (update("w", 6, title="b"), AT5, {}, "conflict@5", "base_version_ahead"),
        (update("w", None, title="b"), AT5, {}, "invalid", "validation_failed"),
        (update("w", 6, title="a"), AT5, {}, "unchanged@5", None),
        (update("w", None, title="a"), AT5, {}, "invalid", "validation_failed"),
        (update("w", 5, title="b"), APPROVED, {}, "conflict@5", "illegal_transition"),
        # update on an old version: state was changed by version 5, title by version 2
        (update("w", 3, title="b"), AT5, {}, "merged@6", None),
        (update("w", 3, state="done"), AT5, {}, "conflict@5", "version_mismatch"),
        (update("w", 3, state="open"), AT5, {}, "unchanged@5", None),
        (update("w", 1, title="b"), AT5, {}, "conflict@5", "version_mismatch"),
        (update("w", 3, of="forms", title="b"), FORM5, {}, "conflict@5", "version_mismatch"),
        (update("w", 5, of="forms", title="b"), FORM5, {}, "updated@6", None),
        (update("w", 3, of="tags", state="x"), TAG5, {}, "merged@6", None),
        (update("w", 3, of="tags", title="x"), TAG5, {}, "conflict@5", "version_mismatch"),
        (update("w", 3, of="forms", state="open"), FORM5, {}, "unchanged@5", None),
        (update("w", 3, of="seals", title="b"), SEAL5, {}, "unchanged@5", None),
        # update of what is not there
        (update("w", 1, title="b"), {}, {}, "not_found", "row_not_found"),
        (update("w", 5, title="b"), HIDDEN, {}, "not_found", "row_not_found"),
        (update("w", 5, title="b"), {}, STONE, "gone", "row_deleted"),
        (update("w", 5, title="b"), {}, HIDDEN_STONE, "not_found", "row_not_found"),
        # delete
        (delete("w", 5), AT5, {}, "deleted@6", None),
        (delete("w", 3), AT5, {}, "conflict@5", "edited_since"),
        (delete("w", 6), AT5, {}, "conflict@5", "base_version_ahead"),
        (delete("w", None), AT5, {}, "invalid", "validation_failed"),
        (delete("w", 5), {}, STONE, "unchanged@6", None),
        (delete("w", 5), HIDDEN, {}, "not_found", "row_not_found"),
        (delete("w", 5), {}, {}, "not_found", "row_not_found"),
        (delete("w", 5, of="seals"), SEAL5, {}, "conflict@5", "sealed"),
        # references
        (create("n", of="notes", order="w"), AT5, {}, "created@1", None),
        (create("n", of="notes", order="w"), {}, {}, "dependency_failed", "parent_missing"),
        (create("n", of="notes", order="w"), HIDDEN, {}, "dependency_failed", "parent_missing"),
        (create("n", of="notes", form="w"), {}, {}, "invalid", "validation_failed"),
        (update("n", 1, of="notes", order="x"), NOTE1, {}, "dependency_failed", "parent_missing"),
        (update("n", 1, of="notes", form="x"), NOTE1, {}, "invalid", "validation_failed"),
        (update("n", 1, of="notes", text="b"), NOTE1, {}, "updated@2", None),
    ],
)
def test_one_mutation(
    mutation: Mutation,
    rows: dict[tuple[str, str], RowState],
    gone: dict[tuple[str, str], Tombstone],
    expected: str,
    code: str | None,
) -> None:
    """Each rule of the protocol, one line."""
    found = plan([mutation], rows, gone=gone)

    assert (outcomes(found), codes(found)) == ([expected], [code])
    is_written = expected.split("@", maxsplit=1)[0] in {"created", "updated", "deleted", "merged"}
    assert len(found.writes) == is_written


def test_conflict_names_what_both_changed_and_shows_the_row() -> None:
    """A person has to choose: the app needs the fields in dispute and the row as it is."""
    found = plan([update("w", 3, title="b", state="done")], AT5)

    (result,) = found.results
    assert result.refusal is not None
    assert result.refusal.args == {"fields": ["state"]}
    assert result.current == {"title": "a", "state": "open", "note": ""}


def test_merge_keeps_both_edits() -> None:
    """Disjoint fields: nobody loses theirs, and the answer shows the row as it is now."""
    found = plan([update("w", 3, title="b")], AT5)

    (write,) = found.writes
    assert write.after is not None
    assert write.after.data == {"title": "b", "state": "open", "note": ""}
    assert write.after.field_versions["title"] == 6
    assert write.after.field_versions["state"] == 5
    assert found.results[0].current == write.after.data


def test_edits_of_one_row_in_one_push_see_each_other() -> None:
    """Create, edit, edit again, delete: as if each had come by itself, whatever base they name."""
    found = plan(
        [create("w", title="a"), update("w", None, title="b"), update("w", 1, title="c"),
         delete("w", None)]
    )  # fmt: skip

    assert outcomes(found) == ["created@1", "updated@2", "updated@3", "deleted@4"]
    assert found.writes == []


def test_two_edits_on_one_old_base_conflict_only_with_others() -> None:
    """The second edit's base is old because of the first one: that is no conflict."""
    found = plan([update("w", 5, title="b"), update("w", 5, title="c")], AT5)

    assert outcomes(found) == ["updated@6", "updated@7"]
    assert found.writes[0].version == 7


def test_parents_come_first_whatever_the_order() -> None:
    """A phone writes down its work in any order."""
    found = plan([create("n", of="notes", order="w"), create("w", title="a")])

    assert outcomes(found) == ["created@1", "created@1"]
    assert [write.key.id for write in found.writes] == ["w", "n"]


def test_tree_made_offline_is_ordered_by_depth() -> None:
    """A territory below a territory below a territory, sent leaves first."""
    found = plan(
        [create("c", of="areas", above="b"), create("b", of="areas", above="a"),
         create("a", of="areas", above=None)]
    )  # fmt: skip

    assert outcomes(found) == ["created@1"] * 3
    assert [write.key.id for write in found.writes] == ["a", "b", "c"]


def test_rows_that_name_each_other_in_a_circle_are_refused() -> None:
    """There is no order in which they could exist; and the planner must end."""
    found = plan([create("a", of="areas", above="b"), create("b", of="areas", above="a")])

    assert outcomes(found) == ["dependency_failed", "dependency_failed"]


def test_child_of_a_refused_parent_says_who_blocked_it() -> None:
    """The note is fine; its work order is not."""
    found = plan(
        [create("n", of="notes", order="w"), create("w", title="a")],
        refused={1: invalid([FieldError(path="title", code="max_length", detail="")])},
    )

    assert outcomes(found) == ["dependency_failed", "invalid"]
    refusal = found.results[0].refusal
    assert refusal is not None
    assert refusal.args["blocked_by"] == {"collection": "orders", "id": "w", "index": 1}


def test_one_bad_row_rejects_all_or_nothing_and_is_the_only_culprit() -> None:
    """All others are innocent and told so."""
    batch = [create(f"w{i}", title="a") for i in range(5)] + [update("gone", 1, title="b")]
    found = plan(batch, policy=Policy.ALL_OR_NOTHING)

    assert outcomes(found) == ["not_applied"] * 5 + ["not_found"]
    assert found.writes == []


def test_every_culprit_of_a_group_is_named_with_its_own_reason() -> None:
    """One round trip, all errors."""
    batch = [update("x", 1, title="b"), create("w", title="a"), create("v", state="approved")]
    found = plan(batch, policy=Policy.ALL_OR_NOTHING)

    assert outcomes(found) == ["not_found", "not_applied", "conflict"]


def test_a_group_falls_alone() -> None:
    """A visit that fails does not take the next one with it."""
    found = plan(
        [create("w", title="a", group="g1"), create("n", of="notes", order="none", group="g1"),
         create("v", title="a", group="g2"), create("m", of="notes", order="v", group="g2")]
    )  # fmt: skip

    assert outcomes(found) == ["not_applied", "dependency_failed", "created@1", "created@1"]
    assert {write.key.id for write in found.writes} == {"v", "m"}


def test_a_fallen_group_takes_what_was_built_on_it() -> None:
    """A note in another group, on a work order that was not applied after all."""
    found = plan(
        [create("w", title="a", group="g1"), update("none", 1, title="b", group="g1"),
         create("n", of="notes", order="w")]
    )  # fmt: skip

    assert outcomes(found) == ["not_applied", "not_found", "dependency_failed"]
    assert found.writes == []


def test_groups_that_touch_the_same_row_are_one() -> None:
    """Half of a row's edits cannot stand while the other half falls."""
    found = plan(
        [create("w", title="a", group="g1"), update("w", None, state="approved", group="g2")]
    )

    assert outcomes(found) == ["not_applied", "conflict@1"]
    assert found.writes == []


def test_delete_comes_after_everything_else() -> None:
    """A note pushed together with the delete of its work order is decided first."""
    rows = {("orders", "w"): row(1, title="a")}
    found = plan([delete("w", 1), create("n", of="notes", order="w")], rows)

    assert outcomes(found) == ["deleted@2", "created@1"]


def test_edit_after_delete_in_one_push_is_gone() -> None:
    """The phone's own delete came first."""
    found = plan([delete("w", 5), update("w", 5, title="b")], AT5)

    assert outcomes(found) == ["not_applied", "gone"]


def test_office_is_not_bound_by_roles_nor_bases() -> None:
    """The admin mends what the app's rules forbid."""
    found = plan([update("w", None, state="approved")], HIDDEN, actor=OFFICE)

    assert outcomes(found) == ["updated@6"]


# --- laws -----------------------------------------------------------------------------------

IDS = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.sampled_from(["x", "y", "z", "approved"])
FIELDS = st.dictionaries(st.sampled_from(["title", "state"]), VALUES, max_size=2)
GROUPS = st.sampled_from([None, None, "g1", "g2"])
BASES = st.sampled_from([None, 0, 1, 2, 3, 9])


@st.composite
def mutation_lists(draw: st.DrawFn) -> list[Mutation]:
    """Any batch: creates, edits and deletes of a few rows, with references and groups."""
    found: list[Mutation] = []
    for _ in range(draw(st.integers(1, 9))):
        of = draw(st.sampled_from(["orders", "forms", "notes", "areas"]))
        op = draw(st.sampled_from(list(Op)))
        data: Wire = dict(draw(FIELDS))
        if of == "notes":
            data["order"] = draw(IDS)
        if of == "areas":
            data["above"] = draw(st.one_of(st.none(), IDS))
        found.append(
            Mutation(
                index=len(found),
                op=op,
                collection=of,
                id=draw(IDS),
                base_version=None if op is Op.CREATE else draw(BASES),
                group=draw(GROUPS),
                data={} if op is Op.DELETE else data,
            )
        )
    return found


@st.composite
def row_maps(draw: st.DrawFn) -> dict[tuple[str, str], RowState]:
    """Any rows, some of them out of the actor's sight."""
    found = {}
    for of in ("orders", "forms"):
        for row_id in draw(st.sets(IDS)):
            scopes = draw(st.sampled_from([SCOPES, SCOPES, frozenset({"elsewhere"})]))
            version = draw(st.integers(1, 3))
            fields = {"title": draw(VALUES), "state": draw(VALUES)}
            versions = {name: draw(st.integers(1, version)) for name in fields}
            found[(of, row_id)] = RowState(
                version=version, field_versions=versions, data=dict(fields), scopes=scopes
            )
    return found


POLICIES = st.sampled_from(list(Policy))


@given(mutation_lists(), row_maps(), POLICIES)
def test_law_every_mutation_has_one_result_in_its_place(
    mutations: list[Mutation], rows: dict[tuple[str, str], RowState], policy: Policy
) -> None:
    """The phone learns exactly what became of every row."""
    found = plan(mutations, rows, policy)

    assert [result.mutation.index for result in found.results] == list(range(len(mutations)))
    assert plan(mutations, rows, policy) == found


@given(mutation_lists(), row_maps(), POLICIES)
def test_law_refused_mutations_change_nothing(
    mutations: list[Mutation], rows: dict[tuple[str, str], RowState], policy: Policy
) -> None:
    """Without the refused ones, the rest leads to the same rows and the same outcomes."""
    found = plan(mutations, rows, policy)
    accepted = [r.mutation for r in found.results if r.refusal is None]

    again = plan(accepted, rows, policy)

    assert [r.refusal for r in again.results] == [None] * len(accepted)
    assert again.writes == found.writes


@given(mutation_lists(), row_maps())
def test_law_a_named_group_is_applied_whole_or_not_at_all(
    mutations: list[Mutation], rows: dict[tuple[str, str], RowState]
) -> None:
    """A visit with its notes and parts."""
    found = plan(mutations, rows)

    for group in {m.group for m in mutations} - {None}:
        verdicts = {r.refusal is None for r in found.results if r.mutation.group == group}
        assert len(verdicts) == 1


@given(mutation_lists(), row_maps())
def test_law_all_or_nothing_is_one_group(
    mutations: list[Mutation], rows: dict[tuple[str, str], RowState]
) -> None:
    """One culprit, and nothing is written."""
    found = plan(mutations, rows, Policy.ALL_OR_NOTHING)

    is_refused = [result.refusal is not None for result in found.results]
    assert all(is_refused) or not any(is_refused)
    assert not any(is_refused) or found.writes == []


@given(mutation_lists(), row_maps(), POLICIES)
def test_law_versions_are_dense(
    mutations: list[Mutation], rows: dict[tuple[str, str], RowState], policy: Policy
) -> None:
    """A row's version grows by one with every mutation that changed it, and by nothing else."""
    found = plan(mutations, rows, policy)

    edits: dict[RowKey, int] = {}
    for result in found.results:
        if result.refusal is None and result.outcome is not Outcome.UNCHANGED:
            edits[result.mutation.key] = edits.get(result.mutation.key, 0) + 1
    for write in found.writes:
        before = write.before.version if write.before else 0
        assert write.version - before == edits[write.key]


@given(mutation_lists(), row_maps(), POLICIES)
def test_law_rows_out_of_sight_are_never_written(
    mutations: list[Mutation], rows: dict[tuple[str, str], RowState], policy: Policy
) -> None:
    """Whatever the client sends, it reaches only what its scopes show."""
    found = plan(mutations, rows, policy)

    for write in found.writes:
        assert write.before is None or ALICE.can_see(write.before.scopes)


@given(mutation_lists(), row_maps(), st.randoms(use_true_random=False))
def test_law_order_of_different_rows_does_not_matter(
    mutations: list[Mutation], rows: dict[tuple[str, str], RowState], rng: object
) -> None:
    """Any order that keeps each row's own edits in sequence leads to the same rows."""
    keys = list({m.key: None for m in mutations})
    rng.shuffle(keys)  # type: ignore[attr-defined]
    shuffled = [m for key in keys for m in mutations if m.key == key]

    found, other = plan(mutations, rows), plan(shuffled, rows)

    by_key = sorted(found.writes, key=lambda w: w.key)
    assert by_key == sorted(other.writes, key=lambda w: w.key)
