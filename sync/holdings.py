"""Holdings: what a scope set holds now, summed up by buckets of ids, and row by row.

    entries of the scopes --bit_xor of their digests--> Sums
    entries of one bucket --their changes--> upserts as JSON, as a pull sends them

The digest and the bucket of a row stand on its entries, so that no row is read to sum it up. Reads
the tables of the log and writes nothing.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection

from sync.pages import OF_LINES, UPSERT
from sync.read_replica import Fetch, ask_primary
from sync.scope_set import ScopeSet
from sync.types import Actor

if TYPE_CHECKING:
    from uuid import UUID

# A range of the index for each scope. All entries of one change carry its seq, which no other
# change has: so a row that is in several of the scopes counts once, and only numbers are compared.
_SUMS = """
SELECT news.is_there, b.* FROM (
    SELECT EXISTS (
        SELECT 1 FROM sync_entry
        WHERE tenant_id = %(tenant)s AND scope = ANY(%(scopes)s::text[]) AND seq > %(after)s
            AND (%(collections)s::text[] IS NULL OR collection = ANY(%(collections)s::text[]))
    ) AS is_there
) AS news LEFT JOIN (
    SELECT collection, bucket, count(*), bit_xor(digest) FROM (
        SELECT DISTINCT ON (seq) collection, bucket, digest FROM sync_entry
        WHERE tenant_id = %(tenant)s AND scope = ANY(%(scopes)s::text[]) AND op = 'upsert'
            AND (%(collections)s::text[] IS NULL OR collection = ANY(%(collections)s::text[]))
    ) AS held GROUP BY collection, bucket
) AS b ON true
ORDER BY b.collection, b.bucket
"""
_ROWS = f"""
WITH line AS (
    SELECT DISTINCT collection, row_id FROM sync_entry
    WHERE tenant_id = %(tenant)s AND scope = ANY(%(scopes)s::text[])
        AND collection = %(collection)s AND row_id > %(after)s
        AND op = 'upsert' AND bucket = %(bucket)s
    ORDER BY row_id LIMIT %(limit)s
)
SELECT {UPSERT} {OF_LINES} ORDER BY line.row_id
"""  # noqa: S608  # constants


class Sum(NamedTuple):
    """A number of rows, and the XOR of their digests: 64 bits, signed."""

    rows: int
    checksum: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """The sum of every bucket that is not empty, by collection; and whether there is news.

    News is anything that a pull would scan behind the seq that was asked about. Both are of one
    moment: where there is no news, a replica that has read up to there has these very sums.
    """

    buckets: dict[str, dict[int, Sum]]
    has_news: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket of a collection, from behind the id `after` on, at most `limit` rows."""

    collection: str
    number: int
    after: str
    limit: int


def read_sums(
    tenant_id: UUID, what: ScopeSet, *, news_after: int | None, fetch: Fetch = ask_primary
) -> Sums:
    """Return the sums of the live rows that `what` sees, each row once, in one pass over entries.

    Without `news_after` there is no news. `fetch` chooses the database.
    """
    parameters: dict[str, Any] = {
        "tenant": tenant_id,
        "scopes": sorted(what.scopes),
        "collections": None if what.collections is None else sorted(what.collections),
        "after": news_after,
    }
    buckets: dict[str, dict[int, Sum]] = {}
    has_news = False
    for has_news, collection, number, rows, checksum in fetch(_SUMS, parameters).rows:  # noqa: B007
        if collection is not None:
            buckets.setdefault(collection, {})[number] = Sum(rows, checksum)
    return Sums(buckets=buckets, has_news=has_news)


def read_rows(actor: Actor, bucket: Bucket) -> tuple[list[str], bool]:
    """Return the live rows of `bucket` that `actor` sees, and whether there are more.

    As upserts in JSON, in order of their ids as the database compares them.
    """
    parameters: dict[str, Any] = {
        "tenant": actor.tenant_id,
        "device": actor.device_id,
        "scopes": sorted(actor.scopes),
        "collection": bucket.collection,
        "bucket": bucket.number,
        "after": bucket.after,
        "limit": bucket.limit + 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, parameters)
        lines = [line for (line,) in cursor.fetchall()]
    told = [line for line in lines[: bucket.limit] if line is not None]
    return told, len(lines) > bucket.limit
