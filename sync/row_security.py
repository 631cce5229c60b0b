"""Row-level security: PostgreSQL itself shows one tenant's rows, whatever a statement asks for.

    for_tenant(id)    this block works for one tenant: the database holds no other row
    bind(id)          so does all that follows, until `nobody` ends
    every_tenant()    this block is the operator's: all rows (admin, commands, a login)
    nobody()          this block has not said yet for whom: no row at all

The tables' policies (`tenancy.TenantPolicy`) compare a row's tenant with the setting `app.tenant`,
which `prelude` sets for one transaction, in front of its first statement. They bind every role but
the tables' owner; so all rows are seen by taking on the owner's role for that transaction.

It is the second line: every statement names its tenant by itself, and is right without this.
Outside of requests, all tenants are worked for unless somebody says otherwise.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from uuid import UUID

    from sync.types import Actor

P = ParamSpec("P")
T = TypeVar("T")

SETTING: Final = "app.tenant"
# Both are undone at the end of the transaction; 'none' is the role that logged in.
PRELUDE: Final = f"SELECT set_config('{SETTING}', %s, true), set_config('role', %s, true)"
OWN_ROLE: Final = "none"


class Unbound(enum.Enum):
    """What is not bound to one tenant: work for all of them, or for none yet."""

    EVERYBODY = "every tenant"
    NOBODY = "no tenant"


_bound: ContextVar[UUID | Unbound] = ContextVar("bound_tenant", default=Unbound.EVERYBODY)


def bound() -> UUID | Unbound:
    """Return for whom the caller works."""
    return _bound.get()


def bind(whom: UUID | Unbound) -> None:
    """Work for one tenant, or for all, from here to the end of the innermost block."""
    _bound.set(whom)


@contextmanager
def for_tenant(tenant_id: UUID) -> Iterator[None]:
    """Work for one tenant."""
    with _working_for(tenant_id):
        yield


def for_actor(work: Callable[Concatenate[Actor, P], T]) -> Callable[Concatenate[Actor, P], T]:
    """Have a function work for the tenant of the actor that it is given first."""

    @functools.wraps(work)
    def bound_work(actor: Actor, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with for_tenant(actor.tenant_id):
            return work(actor, *args, **kwargs)

    return bound_work


@contextmanager
def every_tenant() -> Iterator[None]:
    """Work for all tenants at once; whoever says so filters by hand, or means it."""
    with _working_for(Unbound.EVERYBODY):
        yield


@contextmanager
def nobody() -> Iterator[None]:
    """Work for no tenant yet."""
    with _working_for(Unbound.NOBODY):
        yield


@contextmanager
def _working_for(whom: UUID | Unbound) -> Iterator[None]:
    token = _bound.set(whom)
    try:
        yield
    finally:
        _bound.reset(token)


def prelude(whom: UUID | Unbound, owner: str | None) -> tuple[str, str]:
    """Return the parameters of `PRELUDE`; `owner` is the role that sees all, if it is another."""
    if whom is Unbound.EVERYBODY:
        return "", owner or OWN_ROLE
    return "" if whom is Unbound.NOBODY else str(whom), OWN_ROLE
