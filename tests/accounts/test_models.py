"""What the database itself holds to."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from django.db import IntegrityError, connection, transaction

from backend.accounts.models import Membership, Role

if TYPE_CHECKING:
    from backend.accounts.models import Tenant, User


def test_user_is_member_of_a_tenant_once(tess: User, wales: Tenant) -> None:
    """Two roles in one tenant would leave open which of them counts."""
    with pytest.raises(IntegrityError, match="accounts_membership_tenant_user_key"):
        Membership.objects.create(user=tess, tenant=wales, role=Role.ADMIN)


def test_unknown_role_is_refused(tess: User, northwind: Tenant) -> None:
    """A typing error in a script must not become a role that nothing checks."""
    with pytest.raises(IntegrityError, match="accounts_membership_role_known"):
        Membership.objects.create(user=tess, tenant=northwind, role="boss")


def test_rows_can_be_bound_to_members_of_their_tenant(
    tess: User, wales: Tenant, northwind: Tenant
) -> None:
    """A composite foreign key keeps a work order from an assignee in another tenant."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE job (tenant_id uuid, assignee_id uuid, FOREIGN KEY (tenant_id, "
            "assignee_id) REFERENCES accounts_membership (tenant_id, user_id))"
        )
        cursor.execute("INSERT INTO job VALUES (%s, %s)", [wales.pk, tess.pk])

        with pytest.raises(IntegrityError), transaction.atomic():
            cursor.execute("INSERT INTO job VALUES (%s, %s)", [northwind.pk, tess.pk])


def test_membership_holds_territories(tess: User) -> None:
    """By id: the domain owns the rows."""
    held = [uuid.uuid4(), uuid.uuid4()]
    Membership.objects.update(territories=held)

    assert Membership.objects.get().territories == held
