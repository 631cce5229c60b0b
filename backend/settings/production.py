"""Settings for real use: secrets must be given, HTTPS is insisted on, errors stay inside."""

from __future__ import annotations

from backend.settings.base import *  # noqa: F403
from backend.settings.base import env
from backend.settings.variables import SECRET_KEY_CHARS_MIN

SECRET_KEY = env.text("SECRET_KEY", chars_min=SECRET_KEY_CHARS_MIN)
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS")
DEBUG = env.flag("DEBUG")
if DEBUG:
    env.refuse("DEBUG", "is on, which shows the server's insides to everybody")

SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT")
SECURE_HSTS_SECONDS = env.number("SECURE_HSTS_SECONDS", minimum=0, maximum=63_072_000)
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True

env.seal()
