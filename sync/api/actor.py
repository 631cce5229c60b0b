"""Who a request comes from: the project says, by the resolver that its settings name."""

from __future__ import annotations

import functools
from typing import Any

from django.utils.module_loading import import_string
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request

from sync.conf import sync_settings
from sync.row_security import bind
from sync.types import Actor


def actor_of(request: Request) -> Actor:
    """Return the actor behind `request`, as the database has them now.

    From here on the request is for their tenant, and meets no other's rows.
    """
    actor: Actor = _find(sync_settings().actor_resolver)(request)
    bind(actor.tenant_id)
    return actor


def actor_again(request: Request) -> Actor:
    """Return the actor behind a request that is still being answered, as they are by now.

    Raises:
        APIException: they are not let in any more.
    """
    again = Request(request._request)
    again.authenticators = request.authenticators
    if not again.user.is_authenticated:
        raise NotAuthenticated
    return actor_of(again)


@functools.cache
def _find(dotted_path: str) -> Any:
    return import_string(dotted_path)
