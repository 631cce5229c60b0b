"""Where a push of the product spends its time: pushed in process, under a profiler.

The WSGI application is called as the server's threads call it, on the bench's durable database. A
profiler costs time of its own: it says what is large beside what, not how fast anything is.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from wsgiref.util import setup_testing_defaults

import psycopg
from pyinstrument import Profiler
from pyinstrument.renderers import ConsoleRenderer, HTMLRenderer, SpeedscopeRenderer
from pyinstrument.renderers.base import Renderer

from loadtests.bench import workload
from loadtests.bench.cases import Case
from loadtests.bench.errors import BenchFailed
from loadtests.bench.stage import prepared_database, product_headers
from loadtests.bench.workload import PATH, Batch, Sender, find_failure

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

INTERVAL_S: Final = 0.0005  # between samples: a push of 100 rows takes some 30 ms
WARM_UP_BATCHES: Final = 3


def write_profile(path: Path, case: Case, *, rows: int) -> None:
    """Push about `rows` rows from one device as `case` has it, and write the profile to `path`.

    Its suffix says in which form: .html, .json (for speedscope), or else plain text.

    Raises:
        BenchFailed: a push was not answered as it had to be.
        DevstackError: a service is missing or did not start.
    """
    with prepared_database() as stack:
        from backend.wsgi import application
        from loadtests.bench.senders import make_senders

        (sender,) = make_senders("profile", devices=1)
        rng = random.Random(1)
        ids = workload.new_ids(
            (max(1, rows // case.batch_rows) + WARM_UP_BATCHES) * case.batch_rows
        )
        batches = workload.creates(sender, rng, ids=ids, batch_rows=case.batch_rows)
        if case.is_update:
            _push(application, sender, batches)
            batches = workload.updates(rng, ids=ids, batch_rows=case.batch_rows)
        with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
            connection.execute("ANALYZE")
        _push(application, sender, batches[:WARM_UP_BATCHES])
        profiler = Profiler(interval=INTERVAL_S)
        with profiler:
            _push(application, sender, batches[WARM_UP_BATCHES:])
    path.write_text(profiler.output(_choose_renderer(path)))


def _choose_renderer(path: Path) -> Renderer:
    match path.suffix:
        case ".html":
            return HTMLRenderer()
        case ".json":
            return SpeedscopeRenderer()
        case _:
            return ConsoleRenderer(unicode=True, show_all=True)


def _push(application: WSGIApplication, sender: Sender, batches: Sequence[Batch]) -> None:
    for batch in batches:
        failure = find_failure(batch, *_call(application, sender, batch))
        if failure:
            raise BenchFailed(failure)


def _call(application: WSGIApplication, sender: Sender, batch: Batch) -> tuple[int, bytes]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": PATH,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(batch.body)),
        "HTTP_AUTHORIZATION": product_headers(sender)["Authorization"],
        "HTTP_IDEMPOTENCY_KEY": batch.key,
        "wsgi.input": io.BytesIO(batch.body),
    }
    setup_testing_defaults(environ)
    heads: list[str] = []

    def start_response(status: str, *_: Any) -> Callable[[bytes], object]:
        heads.append(status)
        return lambda _chunk: None  # the old way to write a body; nothing here uses it

    body = b"".join(application(environ, start_response))
    return int(heads[0].split()[0]), body
