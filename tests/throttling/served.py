"""Settings of the servers that the tests of throttles start: the tests', with rates and a Redis."""

from __future__ import annotations

import os

from backend.settings.test import *  # noqa: F403
from backend.throttling.rates import parse_rates

THROTTLE_RATES = parse_rates(os.environ["RATES_FOR_TEST"])
THROTTLE_REDIS_URL = os.environ["REDIS_URL"]
