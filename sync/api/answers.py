"""Answers that a device may keep: JSON, packed as it likes, under a tag to ask about again.

body, Accept-Encoding --pack--> response        tag, If-None-Match --is_known--> a 304 will do
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.http import HttpResponse
from django.utils.cache import patch_vary_headers
from django.utils.http import parse_etags

from sync.api import compression

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase

    from sync.receipts import Answer

JSON: Final = "application/json"
CACHING: Final = "private, no-cache"  # a device may keep it, and must ask before it uses it again
VARY: Final = ("Accept", "Accept-Encoding", "Authorization", "Cookie")


def pack(body: bytes, encoding: str | None) -> HttpResponse:
    """Return `body`, which is JSON, as an answer in that encoding if it is worth it."""
    if encoding is None or len(body) < compression.BYTES_MIN:
        return HttpResponse(body, content_type=JSON)
    headers = {"Content-Encoding": encoding}
    return HttpResponse(compression.pack(body, encoding), content_type=JSON, headers=headers)


def is_known(etag: str, header: str) -> bool:
    """Whether a client that sent `If-None-Match` has seen it. They are compared weakly."""
    return etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in parse_etags(header)}


def let_device_keep(response: HttpResponseBase) -> None:
    """Say in its headers who may keep the answer: the device that asked, and nobody in between."""
    response["Cache-Control"] = CACHING
    patch_vary_headers(response, VARY)


def note_outcomes(response: HttpResponseBase, answer: Answer) -> None:
    """Say what came of how many rows, for whoever logs it; not which, for a request lives long.

    It hangs in a circle with its view until the collector comes, and so would the rows.
    """
    if answer.is_replay:
        found = {"replay": 1}
    else:
        found = {f"{name}:{outcome}": n for (name, outcome), n in answer.count_outcomes().items()}
    response.push_outcomes = dict(sorted(found.items()))  # type: ignore[attr-defined]
