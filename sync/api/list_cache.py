"""List cache: a list that has been read is not read again before something in it can have changed.

    epoch, head, scopes, address --> tag --> 304 to who has it
                                         `-> the bytes, from the cache or made now

All that a list shows is in the feed, so that the feed's head stands for it: nothing has to be
invalidated. Who asks is part of the tag too, though not needed: no mix-up can show to one what
another asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from django.core.cache import cache
from django.http import HttpResponseNotModified
from django.utils.encoding import force_bytes

from sync import heads, wire
from sync.api import answers, compression

if TYPE_CHECKING:
    from django.http import HttpResponse
    from rest_framework.request import Request

    from sync.types import Actor, Wire

KEPT_S: Final = 60
BYTES_MAX: Final = 256 * 1024  # of an answer that is kept


def answer(request: Request, actor: Actor, read: Callable[[], Wire]) -> HttpResponse:
    """Return what `read` returns as JSON under a tag, a 304, or what was read before."""
    tag = _make_tag(request, actor)
    if answers.is_known(tag, request.headers.get("If-None-Match", "")):
        response: HttpResponse = HttpResponseNotModified()
    else:
        accepted = request.headers.get("Accept-Encoding", "")
        response = answers.pack(_find(tag, read), compression.choose_encoding(accepted))
    response["ETag"] = tag
    answers.let_device_keep(response)
    return response


def _find(tag: str, read: Callable[[], Wire]) -> bytes:
    key = f"list:{tag}"
    kept: bytes | None = cache.get(key)
    if kept is not None:
        return kept
    body = wire.encode(read())
    if len(body) <= BYTES_MAX:
        cache.set(key, body, KEPT_S)
    return body


def _make_tag(request: Request, actor: Actor) -> str:
    """Return a weak tag: the same list may come in other bytes, packed or not."""
    stream = actor.stream or heads.read_heads([actor.tenant_id]).get(actor.tenant_id)
    parts = [
        *(str(actor.tenant_id), str(actor.user_id), str(actor.device_id), actor.role),
        *(str(stream and stream.epoch), ",".join(sorted(actor.scopes))),
        request.get_full_path(),
    ]
    seen = hashlib.blake2b(force_bytes("\n".join(parts)), digest_size=16).hexdigest()
    return f'W/"{stream.head if stream else 0}-{seen}"'
