"""The digest's example in `docs/protocol.md` against the engine, and against a phone's own sums."""

from __future__ import annotations

import re
from pathlib import Path

from sync import wire
from tests.replicas import Row, bucket_of, digest_of

DOCS = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
EXAMPLE = re.compile(
    r"The row `(?P<id>\S+)` at version (?P<version>\d+) with `(?P<data>.*)` has `(?P<digest>\w{16})`"
)


def test_example_is_what_engine_and_phones_compute() -> None:
    """Whoever writes an app tries it with these numbers first."""
    found = EXAMPLE.search(DOCS)
    assert found is not None
    row_id, version, data = found["id"], int(found["version"]), found["data"].encode()

    assert wire.render_checksum(wire.digest(row_id, version, data)) == found["digest"]
    assert f"{digest_of(row_id, Row(version, data)):016x}" == found["digest"]
    assert wire.bucket(row_id) == bucket_of(row_id)
    assert f"first byte of the SHA-256 of its id: {bucket_of(row_id)}" in DOCS
    assert f'"{bucket_of(row_id)}": {{"count": 1, "checksum": "{found["digest"]}"}}' in DOCS
