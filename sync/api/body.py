"""Request bodies, bounded: whatever the headers claim, no more than the limits is ever read.

stream --read, capped--> compressed bytes --inflate, capped--> decoded bytes
"""

from __future__ import annotations

from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request

from sync.api.inflate import ENCODINGS, inflate
from sync.conf import sync_settings
from sync.errors import EncodingUnsupported, LimitExceeded


def read_json_body(request: Request) -> bytes:
    """Return the decoded body of a JSON request.

    Raises:
        UnsupportedMediaType: the Content-Type is not JSON.
        EncodingUnsupported: the Content-Encoding is neither identity nor one of `ENCODINGS`.
        LimitExceeded: the body is larger than a limit, as it comes or decoded.
        BodyMalformed: what is compressed is broken, ends early, or is followed by something.
    """
    media_type = (request.content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(media_type or "none")
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    limits = sync_settings()
    if encoding == "identity":
        return _read(request, "body_bytes_max", limits.body_bytes_max)
    if encoding not in ENCODINGS:
        raise EncodingUnsupported(encoding, ENCODINGS)
    compressed = _read(request, "compressed_body_bytes_max", limits.compressed_body_bytes_max)
    return inflate(encoding, compressed, limits.body_bytes_max)


def read_optional_json_body(request: Request) -> bytes:
    """Return the decoded body of a JSON request, an empty object when there is none.

    Raises:
        UnsupportedMediaType, EncodingUnsupported, LimitExceeded, BodyMalformed: as the other.
    """
    if request.META.get("CONTENT_LENGTH") in {None, "", "0"}:
        return b"{}"
    return read_json_body(request)


def _read(request: Request, limit: str, bytes_max: int) -> bytes:
    body = request._request.read(bytes_max + 1)
    if len(body) > bytes_max:
        raise LimitExceeded(limit, bytes_max)
    return body
