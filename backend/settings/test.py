"""Settings of the test suite: the demo's, with cheap password hashes and nothing shared."""

from __future__ import annotations

import os

from backend.postgres.creation import DIRECT_PORT
from backend.settings.base import *  # noqa: F403
from backend.settings.base import DATABASES, SYNC, env
from backend.settings.variables import Stage
from backend.throttling.rates import UNLIMITED, parse_rates

SECRET_KEY = env.secret("SECRET_KEY", Stage.TEST)
ALLOWED_HOSTS = [*env.names("ALLOWED_HOSTS", Stage.TEST), "testserver"]
DEBUG = env.flag("DEBUG", Stage.TEST)
SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT", Stage.TEST)
SECURE_HSTS_SECONDS = env.number("SECURE_HSTS_SECONDS", Stage.TEST, minimum=0, maximum=63_072_000)

# Who sits at a debugger has not frozen.
DATABASES["default"].get("OPTIONS", {}).pop("options", None)
# Past a pooler, if there is one: only there a session is one's own.
DATABASES["default"]["TEST"] = {DIRECT_PORT: os.environ.get("POSTGRES_PORT", "")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # hundreds of users a run
CACHES = {  # tests that want Redis say so, so that none share keys
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}
# Each test client makes its middleware anew, which would list all files: half of a request.
WHITENOISE_AUTOREFRESH = True
# Tests ask as fast as they can; those of throttles set rates of their own.
THROTTLE_RATES = parse_rates(UNLIMITED)
THROTTLE_REDIS_URL = ""
SYNC = {**SYNC, "POKE_URL": ""}  # a thread with a connection of its own would keep the database

env.seal()
