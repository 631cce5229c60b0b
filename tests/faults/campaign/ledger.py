"""The ledger: every change that the database has ever committed, kept by a trigger of ours.

The feed keeps only the newest version of a row. This keeps all, in the same transaction, whatever
the engine does: so it is the database's own history, and not what the engine says of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg

from tests.faults.agreement import disagreements
from tests.faults.campaign.history import Committed, History

SET_UP = """
CREATE TABLE IF NOT EXISTS campaign_ledger (
    tenant_id uuid, seq bigint, collection text, row_id text, op text, version bigint,
    payload text, device_id uuid, transaction bigint, at double precision,
    number bigserial
);
CREATE INDEX IF NOT EXISTS campaign_ledger_tenant ON campaign_ledger (tenant_id);
CREATE OR REPLACE FUNCTION campaign_note() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO campaign_ledger VALUES (NEW.tenant_id, NEW.seq, NEW.collection, NEW.row_id,
        NEW.op, NEW.version, NEW.payload, NEW.device_id, txid_current(),
        extract(epoch FROM clock_timestamp()));
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER campaign_note AFTER INSERT OR UPDATE ON sync_change
    FOR EACH ROW EXECUTE FUNCTION campaign_note();
"""
_CHANGES = """
SELECT seq, collection, row_id, op, version, payload, device_id, transaction, at
FROM campaign_ledger WHERE tenant_id = %s ORDER BY seq, number
"""
_RECEIPTS = "SELECT key, answer FROM sync_request WHERE tenant_id = %s AND answer IS NOT NULL"
_EPOCH = "SELECT epoch FROM sync_stream WHERE tenant_id = %s"


def set_up(owner_url: str) -> None:
    """Keep the ledger from now on."""
    with psycopg.connect(owner_url) as session:
        session.execute(SET_UP)


def read_committed(tenant_id: UUID, owner_url: str) -> list[Committed]:
    """Return all that was ever committed of a tenant, in its order."""
    with psycopg.connect(owner_url) as session:
        return [
            Committed(
                seq=seq,
                name=(collection, row_id),
                op=op,
                version=version,
                data=json.loads(payload) if payload else {},
                device_id=device_id,
                transaction=transaction,
                at=at,
            )
            for seq, collection, row_id, op, version, payload, device_id, transaction, at in (
                session.execute(_CHANGES, [tenant_id]).fetchall()
            )
        ]


def close_history(history: History, owner_url: str) -> None:
    """Add what the database says to a history that is over."""
    history.committed = read_committed(history.tenant_id, owner_url)
    with psycopg.connect(owner_url) as session:
        history.receipts = {
            key: hashlib.sha256(bytes(answer)).hexdigest()
            for key, answer in session.execute(_RECEIPTS, [history.tenant_id]).fetchall()
        }
        found = session.execute(_EPOCH, [history.tenant_id]).fetchone()
        epoch = found[0] if found else UUID(int=0)
        history.epoch = epoch.bytes

        def query(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
            return session.execute(sql.encode(), parameters or None).fetchall()

        history.disagreements = disagreements(query, history.tenant_id)
