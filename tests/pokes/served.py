"""Settings of the servers that the tests of pokes start: the tests', and what a test wants."""

from __future__ import annotations

import json
import os

from backend.settings.test import *  # noqa: F403
from backend.settings.test import SYNC

SYNC = {**SYNC, **json.loads(os.environ["SYNC_FOR_TEST"])}
