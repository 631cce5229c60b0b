"""Faults planted by SQL: what each is found as, and what mends it."""

from __future__ import annotations

import dataclasses

from sync.findings import Kind

OF_NOTE = "WHERE tenant_id = %(tenant)s AND collection = 'notes' AND row_id = %(note)s"
OF_GONE = "WHERE tenant_id = %(tenant)s AND collection = 'notes' AND row_id = %(gone)s"
NOTE = "WHERE tenant_id = %(tenant)s AND id = %(note)s"
OF_TENANT = "WHERE tenant_id = %(tenant)s"
MORE_ENTRIES = (
    "INSERT INTO sync_entry (tenant_id, scope, collection, row_id, seq, digest, bucket, op) SELECT "
    "tenant_id, 'elsewhere', collection, row_id, seq, digest, "
    "get_byte(sha256(convert_to(row_id, 'UTF8')), 0)"
)
OF_HELD = "AND op <> 'scope_exit' AND scope LIKE 'territory%%'"
EDIT = "edit the note"  # the commonest remedy, in place of SQL
NEW_EPOCH = "start a new epoch"


DIGESTED = ("sync_change", "sync_entry")


def redigest(digest: str, change: str, where: str = OF_NOTE) -> tuple[str, ...]:
    """Return SQL that alters a change, and gives it and its entries the digest that fits."""
    return (
        f"UPDATE sync_change SET {change}, digest = %({digest})s {where}",
        f"UPDATE sync_entry SET digest = %({digest})s {where}",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """SQL that breaks the tables, what it is to be found as, and SQL or an edit that mends it."""

    plant: tuple[str, ...]
    what: Kind
    row: str | None = "notes/note"
    mend: tuple[str, ...] = (EDIT,)


FAULTS = {
    "no stream": Fault(
        plant=(f"DELETE FROM sync_stream {OF_TENANT}",),
        what=Kind.STREAM_MISSING,
        row=None,
        mend=(NEW_EPOCH,),
    ),
    "floor above head": Fault(
        plant=(
            "ALTER TABLE sync_stream DROP CONSTRAINT sync_stream_floor_below_head",
            f"UPDATE sync_stream SET floor = head + 1 {OF_TENANT}",
        ),
        what=Kind.FLOOR_ABOVE_HEAD,
        row=None,
        mend=(f"UPDATE sync_stream SET floor = head {OF_TENANT}",),
    ),
    "collection that is not registered": Fault(
        plant=(
            f"UPDATE sync_change SET collection = 'ghosts' {OF_GONE}",
            f"UPDATE sync_entry SET collection = 'ghosts' {OF_GONE}",
        ),
        what=Kind.COLLECTION_UNKNOWN,
        row="ghosts/None",
        mend=(
            f"DELETE FROM sync_change {OF_TENANT} AND collection = 'ghosts'",
            f"DELETE FROM sync_entry {OF_TENANT} AND collection = 'ghosts'",
        ),
    ),
    "head set back": Fault(
        plant=(
            f"UPDATE sync_change SET seq = seq + 1000 {OF_NOTE}",
            f"UPDATE sync_entry SET seq = seq + 1000 {OF_NOTE} AND op = 'upsert'",
        ),
        what=Kind.SEQ_OUT_OF_RANGE,
        mend=(NEW_EPOCH,),
    ),
    "exit beyond the head": Fault(
        plant=(f"UPDATE sync_entry SET seq = seq + 1000 {OF_NOTE} AND op = 'scope_exit'",),
        what=Kind.SEQ_OUT_OF_RANGE,
        mend=(NEW_EPOCH, EDIT),
    ),
    "exit that no pull reaches": Fault(
        plant=(f"UPDATE sync_entry SET seq = 0 {OF_NOTE} AND op = 'scope_exit'",),
        what=Kind.SEQ_OUT_OF_RANGE,
        mend=(f"DELETE FROM sync_entry {OF_NOTE} AND op = 'scope_exit'", NEW_EPOCH),
    ),
    "seq that no pull reaches": Fault(
        plant=(
            f"DELETE FROM sync_entry {OF_NOTE} AND op = 'scope_exit'",
            f"UPDATE sync_change SET seq = 0 {OF_NOTE}",
            f"UPDATE sync_entry SET seq = 0 {OF_NOTE}",
        ),
        what=Kind.SEQ_OUT_OF_RANGE,
    ),
    "two rows of one seq": Fault(
        plant=tuple(  # the highest, which is no row's exit
            f"UPDATE {table} SET seq = (SELECT head FROM sync_stream {OF_TENANT}) "
            f"{OF_NOTE} AND op = 'upsert'"
            for table in ("sync_change", "sync_entry")
        ),
        what=Kind.SEQ_TWICE,
    ),
    "an exit at another row's seq": Fault(
        plant=(
            (
                f"UPDATE sync_entry SET seq = (SELECT seq FROM sync_change {OF_TENANT} AND "
                f"row_id = %(first)s) {OF_NOTE} AND op = 'scope_exit'"
            ),
        ),
        what=Kind.SEQ_TWICE,
        mend=(f"DELETE FROM sync_entry {OF_NOTE} AND op = 'scope_exit'",),
    ),
    "row inserted by SQL": Fault(
        plant=(
            f"DELETE FROM sync_change {OF_NOTE}",
            f"DELETE FROM sync_entry {OF_NOTE}",
        ),
        what=Kind.ROW_UNLOGGED,
    ),
    "row deleted by SQL": Fault(
        plant=(f"DELETE FROM note {NOTE}",),
        what=Kind.ROW_MISSING,
        mend=(
            (
                "INSERT INTO note (tenant_id, id, work_order_id, text, version, field_versions, "
                "created_at, updated_at) SELECT tenant_id, row_id::uuid, "
                "(payload::json->>'work_order')::uuid, payload::json->>'text', version, '{}', now(), "
                f"now() FROM sync_change {OF_NOTE}"
            ),
        ),
    ),
    "row that was told to be deleted": Fault(
        plant=(
            (
                "UPDATE sync_change SET op = 'delete', payload = NULL, digest = %(no_payload)s "
                f"{OF_NOTE}"
            ),
            (
                f"UPDATE sync_entry SET op = 'delete', digest = %(no_payload)s {OF_NOTE} "
                "AND op = 'upsert'"
            ),
        ),
        what=Kind.ROW_ENTOMBED,
    ),
    "version 0": Fault(
        plant=(
            f"UPDATE note SET version = 0 {NOTE}",
            *redigest("digest_of_0", "version = 0"),
        ),
        what=Kind.VERSION_BELOW_ONE,
        mend=(f"UPDATE note SET version = 1 {NOTE}", EDIT),
    ),
    "tombstone at version 0": Fault(
        plant=redigest("no_payload_at_0", "version = 0", OF_GONE),
        what=Kind.VERSION_BELOW_ONE,
        row="notes/gone",
        mend=redigest("no_payload_at_2", "version = 2", OF_GONE),
    ),
    "version ahead of the feed": Fault(
        plant=(f"UPDATE note SET version = 7 {NOTE}",), what=Kind.VERSION_DIFFERS
    ),
    "version behind the feed": Fault(
        plant=redigest("digest_of_7", "version = 7"),
        what=Kind.VERSION_DIFFERS,
        mend=(f"UPDATE note SET version = 7 {NOTE}", EDIT),
    ),
    **{
        f"field versions {versions}": Fault(
            plant=(f"UPDATE note SET field_versions = '{versions}' {NOTE}",),
            what=Kind.FIELD_VERSION_WRONG,
            mend=(f"UPDATE note SET field_versions = '{{\"text\": 1}}' {NOTE}",),
        )
        for versions in ('{"text": 9}', '{"text": 0}', '{"text": "1"}', '{"text": true}', "[]")
    },
    "row edited by SQL": Fault(
        plant=(f"UPDATE note SET text = 'by hand' {NOTE}",), what=Kind.PAYLOAD_DIFFERS
    ),
    "child edited by SQL": Fault(
        plant=("UPDATE task SET done = true WHERE id = %(task)s",),
        what=Kind.PAYLOAD_DIFFERS,
        row="work_orders/order",
        mend=("UPDATE task SET done = false WHERE id = %(task)s",),
    ),
    "child inserted by SQL": Fault(
        plant=(
            (
                "INSERT INTO task (tenant_id, id, work_order_id, text, position, done, result) "
                "VALUES (%(tenant)s, gen_random_uuid(), %(order)s, 'by hand', 0, false, '')"
            ),
        ),
        what=Kind.PAYLOAD_DIFFERS,
        row="work_orders/order",
        mend=("DELETE FROM task WHERE text = 'by hand'",),
    ),
    "number for a float": Fault(
        plant=('UPDATE asset SET attributes = \'{"l": "1.0"}\' WHERE id = %(asset)s',),
        what=Kind.PAYLOAD_DIFFERS,
        row="assets/asset",
        mend=("UPDATE asset SET attributes = '{\"l\": 1.0}' WHERE id = %(asset)s",),
    ),
    "payload that is no JSON": Fault(
        plant=redigest("digest_of_brace", "payload = '{'"),
        what=Kind.PAYLOAD_DIFFERS,
    ),
    "payload that is no object": Fault(
        plant=redigest("digest_of_number", "payload = '7'"),
        what=Kind.PAYLOAD_DIFFERS,
    ),
    "checksum of something else": Fault(
        plant=tuple(f"UPDATE {table} SET digest = digest # 1 {OF_NOTE}" for table in DIGESTED),
        what=Kind.DIGEST_DIFFERS,
    ),
    "checksum of another tombstone": Fault(
        plant=tuple(f"UPDATE {table} SET digest = digest # 1 {OF_GONE}" for table in DIGESTED),
        what=Kind.DIGEST_DIFFERS,
        row="notes/gone",
        mend=tuple(f"UPDATE {table} SET digest = digest # 1 {OF_GONE}" for table in DIGESTED),
    ),
    "entry with another digest": Fault(
        plant=(f"UPDATE sync_entry SET digest = digest # 1 {OF_NOTE} {OF_HELD}",),
        what=Kind.ENTRY_SUMMED_WRONG,
    ),
    "entry of a tombstone with another digest": Fault(
        plant=(f"UPDATE sync_entry SET digest = digest # 1 {OF_GONE} {OF_HELD}",),
        what=Kind.ENTRY_SUMMED_WRONG,
        row="notes/gone",
        mend=(f"UPDATE sync_entry SET digest = digest # 1 {OF_GONE} {OF_HELD}",),
    ),
    "entry in another bucket": Fault(
        plant=(f"UPDATE sync_entry SET bucket = (bucket + 1) %% 256 {OF_NOTE} {OF_HELD}",),
        what=Kind.ENTRY_SUMMED_WRONG,
    ),
    "exit in another bucket": Fault(
        plant=(
            f"UPDATE sync_entry SET bucket = (bucket + 1) %% 256 {OF_NOTE} AND op = 'scope_exit'",
        ),
        what=Kind.ENTRY_SUMMED_WRONG,
        mend=(
            (
                "UPDATE sync_entry SET bucket = get_byte(sha256(convert_to(row_id, 'UTF8')), 0) "
                f"{OF_NOTE} AND op = 'scope_exit'"
            ),
        ),
    ),
    "row told to too few": Fault(
        plant=(
            f"UPDATE sync_change SET scopes = scopes[2:] {OF_NOTE}",
            (
                f"DELETE FROM sync_entry {OF_NOTE} AND op = 'upsert' AND scope <> ALL("
                f"SELECT unnest(scopes) FROM sync_change {OF_NOTE})"
            ),
        ),
        what=Kind.SCOPES_DIFFER,
    ),
    "row told to somebody else": Fault(
        plant=(
            f"UPDATE sync_change SET scopes = scopes || '{{elsewhere}}' {OF_NOTE}",
            f"{MORE_ENTRIES}, op FROM sync_change {OF_NOTE}",
        ),
        what=Kind.SCOPES_DIFFER,
    ),
    "scope twice": Fault(
        plant=(f"UPDATE sync_change SET scopes = scopes || scopes[1:1] {OF_NOTE}",),
        what=Kind.SCOPES_DIFFER,
    ),
    "no entry": Fault(
        plant=(
            f"DELETE FROM sync_entry {OF_NOTE} AND op = 'upsert' AND scope LIKE 'territory%%'",
        ),
        what=Kind.ENTRY_MISSING,
    ),
    "no entry of a tombstone": Fault(
        plant=(
            f"DELETE FROM sync_entry {OF_GONE} AND op = 'delete' AND scope LIKE 'territory%%'",
        ),
        what=Kind.ENTRY_MISSING,
        row="notes/gone",
        mend=(
            (
                "INSERT INTO sync_entry (tenant_id, scope, collection, row_id, seq, op, digest, "
                "bucket) SELECT tenant_id, unnest(scopes), collection, row_id, seq, op, digest, "
                "get_byte(sha256(convert_to(row_id, 'UTF8')), 0) "
                f"FROM sync_change {OF_GONE} "
                "ON CONFLICT DO NOTHING"
            ),
        ),
    ),
    "entry at another seq": Fault(
        plant=(
            (
                f"UPDATE sync_entry SET seq = 1 {OF_NOTE} AND op = 'upsert' "
                "AND scope LIKE 'territory%%'"
            ),
        ),
        what=Kind.ENTRY_DIFFERS,
    ),
    "entry of another op": Fault(
        plant=(
            (
                f"UPDATE sync_entry SET op = 'delete' {OF_NOTE} AND op = 'upsert' "
                "AND scope LIKE 'territory%%'"
            ),
        ),
        what=Kind.ENTRY_DIFFERS,
    ),
    "entry in a scope that the row is not in": Fault(
        plant=(f"{MORE_ENTRIES}, op FROM sync_change {OF_NOTE}",),
        what=Kind.ENTRY_LEFT_OVER,
        mend=(
            f"UPDATE sync_change SET scopes = scopes || '{{elsewhere}}' {OF_NOTE}",
            EDIT,
        ),
    ),
    "entry of no row": Fault(
        plant=(
            (
                "INSERT INTO sync_entry (tenant_id, scope, collection, row_id, seq, op, digest, "
                "bucket) VALUES (%(tenant)s, 'tenant', 'notes', 'nobody', 1, 'upsert', 0, 0)"
            ),
        ),
        what=Kind.ENTRY_WITHOUT_CHANGE,
        row="notes/nobody",
        mend=(f"DELETE FROM sync_entry {OF_TENANT} AND row_id = 'nobody'",),
    ),
    "exit of no row": Fault(
        plant=(
            (
                "INSERT INTO sync_entry (tenant_id, scope, collection, row_id, seq, op, digest, "
                "bucket) VALUES (%(tenant)s, 'tenant', 'notes', 'nobody', 10000, 'scope_exit', 0, 0)"
            ),
        ),
        what=Kind.ENTRY_WITHOUT_CHANGE,
        row="notes/nobody",
        mend=(f"DELETE FROM sync_entry {OF_TENANT} AND row_id = 'nobody'",),
    ),
    "exit of a scope that the row is in": Fault(
        plant=(
            (
                f"UPDATE sync_entry SET op = 'scope_exit' {OF_NOTE} AND op = 'upsert' "
                "AND scope LIKE 'territory%%'"
            ),
        ),
        what=Kind.EXIT_OF_HELD_SCOPE,
    ),
    "exit that comes last": Fault(
        plant=(f"{MORE_ENTRIES}, 'scope_exit' FROM sync_change {OF_NOTE}",),
        what=Kind.EXIT_AFTER_CHANGE,
    ),
}
