"""Settings of the campaign's server: the demo's, with cheap password hashes."""

from __future__ import annotations

from backend.settings.demo import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # thousands of logins
