"""Settings for real use: secrets must be given, HTTPS is insisted on, errors stay inside."""

from __future__ import annotations

from backend.settings.base import *  # noqa: F403
from backend.settings.base import env
from backend.settings.variables import Stage

SECRET_KEY = env.secret("SECRET_KEY", Stage.PRODUCTION)
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS")
DEBUG = env.flag("DEBUG")
if DEBUG:
    env.refuse("DEBUG", "is on, which shows the server's insides to everybody")

SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT")
SECURE_HSTS_SECONDS = env.number("SECURE_HSTS_SECONDS", minimum=0, maximum=63_072_000)
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
# Whether the rest of the domain speaks HTTPS, and for ever, is not for one server on it to say.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

env.seal()
