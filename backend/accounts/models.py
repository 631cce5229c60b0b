"""Who may do what, where, and on which phone.

    Tenant --< Membership >-- User      a user's role and territories in one tenant
    Tenant --<   Device   >-- User      one installed app of one user in one tenant
    Tenant --<   ApiKey                 a program of the tenant's own

A user may be a member of several tenants; a device belongs to exactly one of each.

Whatever is saved here may end a login or change what a device sees: streams are told to look.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models

from sync.ids import uuid7
from sync.pokes import announce_access
from sync.row_security import every_tenant
from sync.tenancy import TenantPolicy

APP_VERSION_CHARS_MAX = 32


class Role(models.TextChoices):
    """What a member does in its tenant."""

    TECHNICIAN = "technician"
    SUPERVISOR = "supervisor"
    DISPATCHER = "dispatcher"
    ADMIN = "admin"
    AUDITOR = "auditor"


class Tenant(models.Model):
    """One customer organisation; nothing ever crosses it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    is_active = models.BooleanField(default=True)
    has_quarantine = models.BooleanField(
        "quarantine",
        default=False,
        help_text="Keep what is refused from devices, for a supervisor to apply or discard.",
    )
    min_app_version = models.CharField(
        "oldest app",
        max_length=APP_VERSION_CHARS_MAX,
        blank=True,
        default="",
        validators=[RegexValidator(r"^\d{1,9}(\.\d{1,9})*$", "Numbers with dots, as 2.10.1.")],
        help_text="Older apps may push their work, and are told to be updated when they pull.",
    )

    class Meta:
        ordering = ("slug",)
        constraints = (TenantPolicy(name="accounts_tenant_tenant", column="id"),)

    def __str__(self) -> str:
        return self.slug

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; everybody's streams look whether the tenant is still open."""
        super().save(*args, **kwargs)
        announce_access(self.pk, None)


class User(AbstractUser):
    """A person; what they may do is said by their memberships, `is_staff` opens the admin."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; unless it was only that they logged in, their streams look at them again."""
        is_new = self._state.adding
        super().save(*args, **kwargs)
        fields = kwargs.get("update_fields")
        if not is_new and (fields is None or "is_active" in fields):
            with every_tenant():
                tenant_ids = list(self.memberships.values_list("tenant_id", flat=True))
            for tenant_id in tenant_ids:
                announce_access(tenant_id, [self.pk])


class Membership(models.Model):
    """A user's place in one tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    territories = ArrayField(
        models.UUIDField(),
        default=list,
        blank=True,
        help_text="Ids of the territories that the member holds, separated by commas.",
    )
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ("tenant", "user")
        constraints = (
            # Other tables' foreign keys (tenant_id, user_id) point at this one, so that a row can
            # never name a user of another tenant.
            models.UniqueConstraint(
                fields=("tenant", "user"), name="accounts_membership_tenant_user_key"
            ),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="accounts_membership_role_known"
            ),
            TenantPolicy(name="accounts_membership_tenant"),
        )

    def __str__(self) -> str:
        return f"{self.user} as {self.role} in {self.tenant}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; the member's streams look at what they hold now."""
        super().save(*args, **kwargs)
        announce_access(self.tenant_id, [self.user_id])

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete; the member's streams find that they are over."""
        tenant_id, user_id = self.tenant_id, self.user_id
        deleted = super().delete(*args, **kwargs)
        announce_access(tenant_id, [user_id])
        return deleted


class Device(models.Model):
    """One installed app, registered to one user of one tenant.

    It has one login at a time: its access tokens name `login_id`, and its refresh tokens are a
    chain, of which only the newest one's hash is known here (see `refresh_tokens`).

    `clock_skew_ms` is the device's clock less the server's, `outbox_rows` what waits on it to be
    sent, both as last heard; `read_seq` is how far it was told the feed. They are kept for people
    to read, and never used in any decision.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="devices")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="devices")
    name = models.CharField(max_length=100, blank=True, default="")  # as its user calls it
    install_id = models.CharField(max_length=64)
    platform = models.CharField(max_length=32)
    app_version = models.CharField(max_length=APP_VERSION_CHARS_MAX)
    created_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    clock_skew_ms = models.BigIntegerField(null=True, blank=True)
    read_seq = models.BigIntegerField("read up to", null=True, editable=False)
    outbox_rows = models.BigIntegerField("unsent rows", default=0, db_default=0, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)
    must_wipe = models.BooleanField(
        "wipe", default=False, help_text="Tell the revoked app to delete what it holds."
    )
    login_id = models.UUIDField(null=True, editable=False, default=uuid.uuid4)
    refresh_key = models.BinaryField(max_length=32, null=True)
    refresh_number = models.BigIntegerField(editable=False, default=0)
    refresh_hash = models.BinaryField(max_length=32, null=True)
    refreshed_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("tenant", "user", "install_id")
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "user", "install_id"), name="accounts_device_install_key"
            ),
            TenantPolicy(name="accounts_device_tenant"),
        )

    def __str__(self) -> str:
        return self.name or f"{self.platform} {self.install_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; a device that is revoked loses its login and its streams, for good."""
        if self.revoked_at is not None:
            self.login_id = self.refresh_key = self.refresh_hash = None
        super().save(*args, **kwargs)
        if self.revoked_at is not None:
            announce_access(self.tenant_id, [self.user_id])


class ApiKey(models.Model):
    """What a program of the tenant's own enters with; of its secret only the hash is known.

    `reads` and `writes` are the collections that it may; it never changes but to be revoked.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, unique=True)
    hash = models.BinaryField(max_length=32)
    reads = ArrayField(models.CharField(max_length=64))
    writes = ArrayField(models.CharField(max_length=64), default=list)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("tenant", "name")
        constraints = (TenantPolicy(name="accounts_apikey_tenant"),)
        verbose_name = "API key"

    def __str__(self) -> str:
        return self.name
