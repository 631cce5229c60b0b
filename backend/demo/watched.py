"""What the server itself says happened: its page for Prometheus, read as Prometheus reads it."""

from __future__ import annotations

import dataclasses
import http.client
from collections import Counter
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

ANSWER_S_MAX = 30.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Of all pushes since the server was started: rows by outcome, and keys that were known."""

    rows: Counter[str]
    replays: int


def read_watched(url: str, token: str) -> Watched:
    """Return what `/metrics` has.

    Raises:
        OSError: the page is not to be had.
    """
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.netloc, timeout=ANSWER_S_MAX)
    try:
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        message = f"/metrics answers {answer.status}"
        raise OSError(message)
    rows: Counter[str] = Counter()
    replays = 0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "fieldsync_rows_total":
                rows[sample.labels["outcome"]] += int(sample.value)
            elif sample.name == "fieldsync_replays_total":
                replays = int(sample.value)
    return Watched(rows=rows, replays=replays)
