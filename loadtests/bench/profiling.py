"""Where the product spends its time on a case: requests in process, under a profiler.

The WSGI application is called as the server's threads call it, on the bench's durable database. A
profiler costs time of its own: it says what is large beside what, not how fast anything is.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from wsgiref.util import setup_testing_defaults

import psycopg
from pyinstrument import Profiler
from pyinstrument.renderers import ConsoleRenderer, HTMLRenderer, SpeedscopeRenderer
from pyinstrument.renderers.base import Renderer

from loadtests.bench import workload
from loadtests.bench.cases import PullCase, PushCase, Sizes
from loadtests.bench.client import Work, converse
from loadtests.bench.errors import BenchFailed
from loadtests.bench.exchange import Answer, Request
from loadtests.bench.filled import NOTHING, make_tenant
from loadtests.bench.pull_runs import choose_works
from loadtests.bench.pulls import Pages, Place, last_place
from loadtests.bench.stage import prepared_database, product_headers
from loadtests.bench.workload import Sender

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

INTERVAL_S: Final = 0.0005  # between samples: a push of 100 rows takes some 30 ms
WARM_UP_BATCHES: Final = 3
SIDE: Final = "product"


def write_profile(path: Path, case: PushCase | PullCase, *, rows: int, sizes: Sizes) -> None:
    """Do the work of `case` on one device, and write the profile to `path`.

    Its suffix says in which form: .html, .json (for speedscope), or else plain text. `rows` are
    pushed, `sizes` says what is there to pull.

    Raises:
        BenchFailed: something was not answered as it had to be.
        DevstackError: a service is missing or did not start.
    """
    with prepared_database() as stack:
        from backend.wsgi import application

        database = stack.postgres.owner_url
        if isinstance(case, PullCase):
            sender, warm_up, works = _prepare_pulls(application, database, case, sizes)
        else:
            sender, warm_up, works = _prepare_pushes(application, database, case, rows)
        _work(application, sender, warm_up)
        profiler = Profiler(interval=INTERVAL_S)
        with profiler:
            _work(application, sender, works)
    path.write_text(profiler.output(_choose_renderer(path)))


def _prepare_pushes(
    application: WSGIApplication, database: str, case: PushCase, rows: int
) -> tuple[Sender, Sequence[Work], Sequence[Work]]:
    from loadtests.bench.senders import make_senders

    (sender,) = make_senders("profile", devices=1)
    rng = random.Random(1)
    ids = workload.new_ids((max(1, rows // case.batch_rows) + WARM_UP_BATCHES) * case.batch_rows)
    batches = workload.creates(sender, rng, ids=ids, batch_rows=case.batch_rows)
    if case.is_update:
        _work(application, sender, batches)
        batches = workload.updates(rng, ids=ids, batch_rows=case.batch_rows)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ANALYZE")
    return sender, batches[:WARM_UP_BATCHES], batches[WARM_UP_BATCHES:]


def _prepare_pulls(
    application: WSGIApplication, database: str, case: PullCase, sizes: Sizes
) -> tuple[Sender, Sequence[Work], Sequence[Work]]:
    def read_on(sender: Sender, cursor: str) -> Place:
        pages = Pages(held=NOTHING, cursor=cursor)
        return last_place(converse(partial(_call, application, sender), pages))

    filled = make_tenant(database, case.filling, random.Random(1), sizes, {SIDE: read_on})
    return filled.devices[0], *choose_works(SIDE, case, filled, sizes)


def _choose_renderer(path: Path) -> Renderer:
    match path.suffix:
        case ".html":
            return HTMLRenderer()
        case ".json":
            return SpeedscopeRenderer()
        case _:
            return ConsoleRenderer(unicode=True, show_all=True)


def _work(application: WSGIApplication, sender: Sender, works: Sequence[Work]) -> None:
    for work in works:
        failure = work.find_failure(converse(partial(_call, application, sender), work))
        if failure:
            raise BenchFailed(failure)


def _call(application: WSGIApplication, sender: Sender, request: Request) -> Answer:
    path, _, query = request.target.partition("?")
    headers = {**request.headers, **product_headers(sender)}
    environ: dict[str, Any] = {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()
    }
    environ |= {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.input": io.BytesIO(request.body),
    }
    setup_testing_defaults(environ)
    heads: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, more: Any, *_: Any) -> Callable[[bytes], object]:
        heads.append((status, more))
        return lambda _chunk: None  # the old way to write a body; nothing here uses it

    received = bytearray(b"".join(application(environ, start_response)))
    status, given = heads[0]
    return Answer(
        status=int(status.split()[0]),
        headers={name.lower(): value for name, value in given},
        received=received,
        spans=[(0, len(received))] if received else [],
    )
