"""Errors that no view saw: problem documents under /api/, Django's own pages elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404
from django.views import defaults

from sync.api.exception_handler import problem_response

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponseBase

API = "/api/"


def unknown_address(request: HttpRequest) -> HttpResponseBase:
    """Answer for any address under /api/ that is not one of ours."""
    return problem_response(Http404(), {"request": request})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer a request that Django refused: a forged host, a body that is too large."""
    if request.path_info.startswith(API):
        known = exception if isinstance(exception, SuspiciousOperation) else SuspiciousOperation()
        return problem_response(known, {"request": request})
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer a request for what the user may not have."""
    if request.path_info.startswith(API):
        return problem_response(PermissionDenied(), {"request": request})
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer a request for what is not there."""
    if request.path_info.startswith(API):
        return unknown_address(request)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Answer after a failure outside of the views; Django calls this while handling it."""
    if request.path_info.startswith(API):
        cause = sys.exception()
        known = cause if isinstance(cause, Exception) else RuntimeError("no cause is known")
        return problem_response(known, {"request": request})
    return defaults.server_error(request)
