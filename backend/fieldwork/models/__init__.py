"""The domain's tables.

    Territory -< Site -< Asset -< Inspection -< Answer
                    `-< WorkOrder -< Task, Note, PartUsed

Every table is keyed by (tenant, id), and every reference carries the tenant. The constraints say
what must never happen; what a user may do is said by `roles` and `status`.

Further indexes have the tenant last. Until a table is first analysed, PostgreSQL takes all that
begin with the tenant for equally good, and may look a row up by reading its whole tenant.
"""

from backend.fieldwork.models.inspections import Answer, Inspection
from backend.fieldwork.models.places import Asset, Site, Territory
from backend.fieldwork.models.work import Note, NumberSeries, PartUsed, Task, WorkOrder

__all__ = [
    "Answer",
    "Asset",
    "Inspection",
    "Note",
    "NumberSeries",
    "PartUsed",
    "Site",
    "Task",
    "Territory",
    "WorkOrder",
]
