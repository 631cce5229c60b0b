"""What is counted as it happens; named as Prometheus has it: base units, `_total` for sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from sync.receipts import Answer

BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUESTS: Final = Histogram(
    "fieldsync_request_seconds",
    "How long requests took that a thread carried out, by route.",
    ["method", "route", "status"],
    buckets=BUCKETS_S,
)
REPEATED: Final = Counter(
    "fieldsync_polls_repeated_total", "Polls with nothing new, answered without a thread."
)
REFUSED: Final = Counter(
    "fieldsync_busy_total", "Requests refused because the queue was full: 503, to come back."
)
PUSHES: Final = Counter(
    "fieldsync_pushes_total", "Pushes and edits of one row, by status.", ["status"]
)
REPLAYS: Final = Counter(
    "fieldsync_replays_total", "Pushes whose key was known: the same answer was given again."
)
ROWS: Final = Counter(
    "fieldsync_rows_total",
    "What became of the rows that were pushed, by collection.",
    ["collection", "outcome"],
)
THROTTLED: Final = Counter(
    "fieldsync_throttled_total",
    "Requests refused because there were too many, by scope.",
    ["scope"],
)
STREAMS: Final = Gauge(
    "fieldsync_streams_open",
    "Streams that are sent, and pulls that are held.",
    multiprocess_mode="livesum",
)
QUEUE: Final = Gauge(
    "fieldsync_queue_length", "Requests that wait for a thread.", multiprocess_mode="livesum"
)
THREADS: Final = Gauge(
    "fieldsync_threads_busy", "Threads that carry a request out.", multiprocess_mode="livesum"
)
THREADS_MAX: Final = Gauge(
    "fieldsync_threads",
    "Threads that carry requests out, each with a database connection of its own.",
    multiprocess_mode="livesum",
)


def count_push(*, answer: Answer, **_: Any) -> None:
    """Count a push that was answered; a receiver of `sync.signals.push_answered`."""
    PUSHES.labels(str(answer.status)).inc()
    if answer.is_replay:
        REPLAYS.inc()
    for (collection, outcome), rows in answer.count_outcomes().items():
        ROWS.labels(collection, outcome).inc(rows)
