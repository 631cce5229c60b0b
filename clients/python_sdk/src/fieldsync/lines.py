"""Lines: a pull that comes as a stream, parsed as it comes. Pure: no socket.

    pieces --feed--> lines: changes, and behind them a cursor --> pages, as if asked for by page

Rows are not parsed: msgspec finds where the data of a change begins and ends.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fieldsync.wire import PullPage, Unreadable

LINE_BYTES_MAX = 64 * 1024 * 1024  # many times the largest row


class _Line(msgspec.Struct, kw_only=True, gc=False):
    """A line of a stream: a change, or the cursor behind the changes before it."""

    op: str = ""
    collection: str = ""
    id: str = ""
    version: int | None = None
    data: msgspec.Raw = msgspec.Raw()
    cursor: str | None = None
    has_more: bool = True


_LINE = msgspec.json.Decoder(_Line)


class Lines:
    """Pages out of a stream, however it is cut into pieces.

    What comes behind the last cursor line is in no page: it is forgotten, or will come again.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # of a line that has not ended
        self._rest_bytes = 0
        self._changes: list[Any] = []

    def feed(self, piece: bytes) -> list[PullPage]:
        """The pages that `piece` completes. Raises: Unreadable."""
        end = piece.rfind(b"\n") + 1
        if not end:
            self._keep(piece)
            return []
        text = b"".join([*self._rest, piece[:end]])
        self._rest, self._rest_bytes = [], 0
        self._keep(piece[end:])
        pages = []
        for line in _decode_lines(text):
            if line.cursor is None:
                self._changes.append(line)
            else:
                page = PullPage(cursor=line.cursor, has_more=line.has_more, changes=self._changes)
                pages.append(page)
                self._changes = []
        return pages

    def _keep(self, piece: bytes) -> None:
        self._rest.append(piece)
        self._rest_bytes += len(piece)
        if self._rest_bytes > LINE_BYTES_MAX:
            raise Unreadable("a line without end")


def _decode_lines(text: bytes) -> list[_Line]:
    try:
        return _LINE.decode_lines(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from error
