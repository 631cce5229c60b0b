"""Answers that are given again, on the event loop: the polls of devices that have missed nothing.

    request --(all that its answer depends on)--> kept answer, its grounds
        grounds --(one look-up)--> still hold: the answer, under this request's id
                                `- not, or nobody knows: Django answers, and it is kept anew

Django has made every answer that is given here, for the same request, and who asks is looked up
each time by the same query as there. So nothing is decided here, and no rule stands twice.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Final

from backend.grounds import Grounds
from backend.request_id import HEADER
from backend.serving.answers import Answer
from backend.serving.asgi_types import Headers, Scope
from backend.serving.lookup import Lookup, LookupFailed
from backend.serving.problems import request_id_of
from sync.clock import utc_now

KEPT_MAX: Final = 4_096  # answers, of the devices that asked last
KEY_CHARS_MAX: Final = 4_096  # a token has some 400, a cursor 100 to 900: 16 MB at the very most
ID_HEADER: Final = HEADER.lower().encode()
# Of that request alone: its id, and what was left to ask then.
OF_ONE_REQUEST: Final = frozenset({ID_HEADER, b"ratelimit", b"ratelimit-policy"})
# What the answer's own `Vary` names, and what every answer depends on.
DECIDING: Final = (
    b"host", b"if-none-match", b"authorization", b"accept", b"accept-encoding", b"cookie",
)  # fmt: skip

Key = tuple[bytes | str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """An answer but for its request's id, and what it rests on."""

    answer: Answer
    grounds: Grounds


class Repeats:
    """The answers that this process may give again; the event loop alone changes them."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()

    def keep(self, scope: Scope, answer: Answer) -> None:
        """Keep the answer to a request, if it rests on something that can be looked up."""
        key = make_key(scope) if answer.grounds else None
        if key is None or answer.grounds is None:
            return
        headers = [header for header in answer.headers if header[0].lower() not in OF_ONE_REQUEST]
        again = Answer(status=answer.status, headers=headers, body=answer.body)
        self._kept[key] = _Kept(answer=again, grounds=answer.grounds)
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)

    async def find(self, scope: Scope) -> Answer | None:
        """Return the answer to a request that was answered before; None if that is to be asked."""
        key = make_key(scope)
        kept = self._kept.get(key) if key else None
        if key is None or kept is None:
            return None
        try:
            row = await self._lookup.ask(kept.grounds)
        except LookupFailed:
            return None
        if not kept.grounds.still_hold(row, utc_now()):
            self._kept.pop(key, None)
            return None
        if key in self._kept:
            self._kept.move_to_end(key)
        request_id = (ID_HEADER, request_id_of(scope).encode())
        return dataclasses.replace(kept.answer, headers=[*kept.answer.headers, request_id])

    async def close(self) -> None:
        """Forget everything, and let go of the database."""
        self._kept.clear()
        await self._lookup.close()


def make_key(scope: Scope) -> Key | None:
    """Return what the answer to a request depends on; None if that cannot be said in short.

    Only a GET that asks about a tag can be of use.
    """
    found: list[tuple[bytes, bytes]] = scope["headers"]
    headers: Headers = dict(found)
    if scope["method"] != "GET" or b"if-none-match" not in headers:
        return None
    if len(headers) != len(found) or not _BODY.isdisjoint(headers):
        return None
    values = [headers.get(name, b"") for name in DECIDING]
    if sum(map(len, values)) + len(scope["query_string"]) > KEY_CHARS_MAX:
        return None
    root = scope.get("root_path", "")
    return scope["scheme"], root, scope["path"], scope["query_string"], *values


_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})
