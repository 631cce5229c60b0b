"""Exports: all rows that a list chooses, as a stream of lines, in the memory of one page.

    GET /api/v1/work-orders/export/?as=csv | ndjson & the list's own filters

Page after page is read in a worker thread while the client takes its time, by age: a row that is
there from the beginning to the end is there once. Before each page it is asked again whether the
client may still read. An export that fails, or may not go on, is cut, so that nobody takes a part
for the whole.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from django.http import StreamingHttpResponse
from rest_framework.exceptions import APIException

from sync import threads, wire
from sync.api import answers, compression
from sync.api.actor import actor_again
from sync.api.keyset import Ordering, Place, read_page
from sync.errors import ParameterInvalid

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet
    from rest_framework.request import Request

    from sync.types import Actor

    ReadRows = Callable[[Actor], QuerySet[Any]]
    Show = Callable[[Actor, Sequence[UUID]], Sequence[Mapping[str, Any]]]

CSV, NDJSON = "csv", "ndjson"
TYPES: Final = {CSV: "text/csv; charset=utf-8", NDJSON: "application/x-ndjson"}
PAGE_ROWS: Final = 1_000
# What a spreadsheet takes for a formula, which may then do as it likes with the rest.
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


class ExportCut(Exception):
    """The export cannot go on."""


def read_format(request: Request) -> str:
    """Return the form that the client asks for.

    Raises:
        ParameterInvalid: there is no such form.
    """
    form = request.query_params.get("as", CSV)
    if form not in TYPES:
        raise ParameterInvalid("as", f"must be one of {', '.join(TYPES)}")
    return form


def stream(
    request: Request, form: str, name: str, *, read_rows: ReadRows, show: Show, by_id: Ordering
) -> StreamingHttpResponse:
    """Return the rows of `read_rows` as `show` has them, as a file of that form."""
    encoding = compression.choose_encoding(request.headers.get("Accept-Encoding", ""))
    export = _Export(request, read_rows, show, by_id)
    render = render_csv if form == CSV else render_ndjson
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{form}"',
        "X-Accel-Buffering": "no",  # nginx would wait for all of it
    }
    if encoding:
        headers["Content-Encoding"] = encoding
    chunks = _send(export, render, compression.make_packer(encoding))
    response = StreamingHttpResponse(chunks, content_type=TYPES[form], headers=headers)
    answers.let_device_keep(response)
    return response


class _Export:
    """The pages of an export, one after the other."""

    def __init__(self, request: Request, read_rows: ReadRows, show: Show, by_id: Ordering) -> None:
        self._request = request
        self._read_rows = read_rows
        self._show = show
        self._orderings = {"id": by_id}
        self._after: tuple[Any, UUID] | None = None
        self.has_more = True

    def read(self) -> Sequence[Mapping[str, Any]]:
        """Return the next page's lines.

        Raises:
            ExportCut: the client may not read any more.
        """
        try:
            actor = actor_again(self._request)
        except APIException as error:
            raise ExportCut from error
        place = Place(name="id", is_descending=False, limit=PAGE_ROWS, after=self._after)
        page, following = read_page(self._read_rows(actor), place, self._orderings)
        self.has_more = following is not None
        if page:
            self._after = (page[-1], page[-1])
        return self._show(actor, page)


async def _send(
    export: _Export,
    render: Callable[[Iterable[Mapping[str, Any]], bool], bytes],
    packer: compression.Packer,
) -> AsyncIterator[bytes]:
    is_first = True
    while export.has_more:
        lines = await threads.run(export.read)
        yield packer.pack(render(lines, is_first))
        is_first = False
    yield packer.end()


def render_ndjson(lines: Iterable[Mapping[str, Any]], is_first: bool) -> bytes:  # noqa: ARG001, FBT001
    """Return each as a line of JSON."""
    return b"".join(wire.encode(line) + b"\n" for line in lines)


def render_csv(lines: Iterable[Mapping[str, Any]], is_first: bool) -> bytes:  # noqa: FBT001
    """Return each as a line of CSV (RFC 4180), the first page behind the names of the columns."""
    text = io.StringIO()
    writer = csv.writer(text)
    for line in lines:
        if is_first:
            writer.writerow(line)
            is_first = False
        writer.writerow([_cell(value) for value in line.values()])
    return text.getvalue().encode()


def _cell(value: object) -> object:
    """Return what a spreadsheet shows as it stands."""
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return "" if value is None else value
