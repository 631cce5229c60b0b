"""Lists the work orders and renames the first, by a client that was generated.

FIELDSYNC_URL=http://127.0.0.1:8000 FIELDSYNC_KEY=fsk_… .venv/bin/python example.py
"""

from __future__ import annotations

import json
import os

from fieldsync_api import AuthenticatedClient
from fieldsync_api.api.work_orders import work_orders_list, work_orders_update
from fieldsync_api.models import PatchedWorkOrderRequest, WorkOrderLinePage, WorkOrdersRow

client = AuthenticatedClient(
    base_url=os.environ["FIELDSYNC_URL"], token=os.environ["FIELDSYNC_KEY"], prefix="Api-Key"
)
page = work_orders_list.sync(client=client, limit=5)
assert isinstance(page, WorkOrderLinePage), page
first = page.results[0]
renamed = work_orders_update.sync(
    first.id,
    client=client,
    if_match=f'"{first.version}"',
    body=PatchedWorkOrderRequest(summary=f"{first.summary} (seen)"),
)
assert isinstance(renamed, WorkOrdersRow), renamed
print(json.dumps({"id": str(first.id), "summary": renamed.summary}))
