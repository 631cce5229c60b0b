"""Settings to try the server out with: everything but the database has a default."""

from __future__ import annotations

from backend.settings.base import *  # noqa: F403
from backend.settings.base import env
from backend.settings.variables import Stage

SECRET_KEY = env.secret("SECRET_KEY", Stage.DEMO)
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", Stage.DEMO)
DEBUG = env.flag("DEBUG", Stage.DEMO)
SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT", Stage.DEMO)
SECURE_HSTS_SECONDS = env.number("SECURE_HSTS_SECONDS", Stage.DEMO, minimum=0, maximum=63_072_000)

AUTH_PASSWORD_VALIDATORS = []  # the demo users share a simple password

env.seal()
