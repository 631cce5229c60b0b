"""Answers, as a server and what stands between write them."""

from __future__ import annotations

import json

import httpx2

HTML = "<html><body>Welcome to the station's Wi-Fi</body></html>"


def answer(status: int, body: bytes, headers: dict[str, str] | None = None) -> httpx2.Response:
    """A JSON answer of these exact bytes."""
    kind = {"content-type": "application/json"}
    return httpx2.Response(status, headers=kind | (headers or {}), content=body)


def problem(status: int, code: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    """A problem document."""
    body = {
        "status": status,
        "code": code,
        "title": code,
        "detail": f"{code}.",
        "request_id": "r1",
    }
    kind = {"content-type": "application/problem+json"}
    return httpx2.Response(
        status, headers=kind | (headers or {}), content=json.dumps(body).encode()
    )
