"""What the audit says of a tenant."""

from __future__ import annotations

from sync import audit
from sync.findings import Finding
from tests.phones import World


def findings_of(*worlds: World) -> list[Finding]:
    return [finding for world in worlds for finding in audit.check(world.tenant.pk, audit.Tally())]


def kinds_of(*worlds: World) -> list[str]:
    return sorted(finding.kind for finding in findings_of(*worlds))
