"""Bodies of the login endpoints."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from backend.accounts.models import APP_VERSION_CHARS_MAX, Role

TOKEN_CHARS_MAX = 4_096  # ours have some 400
PASSWORD_CHARS_MAX = 256  # hashing more is work for whoever sends it


class InstallSerializer(serializers.Serializer[Any]):
    """The app that logs in."""

    install_id = serializers.CharField(max_length=64, help_text="Made once, at installation.")
    platform = serializers.CharField(max_length=32)
    app_version = serializers.CharField(max_length=APP_VERSION_CHARS_MAX)


class LoginSerializer(serializers.Serializer[Any]):
    """A login on a device."""

    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=PASSWORD_CHARS_MAX, trim_whitespace=False)
    tenant = serializers.CharField(
        max_length=64,
        required=False,
        allow_blank=True,
        help_text="Slug of the tenant; needed by users who belong to several.",
    )
    device = InstallSerializer()


class RefreshSerializer(serializers.Serializer[Any]):
    """A refresh token, to be changed for a new pair."""

    refresh = serializers.CharField(max_length=TOKEN_CHARS_MAX)


class PairSerializer(serializers.Serializer[Any]):
    """A new pair of tokens."""

    access = serializers.CharField()
    refresh = serializers.CharField()


class SessionDeviceSerializer(serializers.Serializer[Any]):
    """The device as the server knows it."""

    id = serializers.UUIDField()


class SessionUserSerializer(serializers.Serializer[Any]):
    """The user, with the role in this tenant."""

    id = serializers.UUIDField()
    role = serializers.ChoiceField(choices=Role.choices)


class SessionTenantSerializer(serializers.Serializer[Any]):
    """The tenant that was logged in to."""

    id = serializers.UUIDField()
    slug = serializers.CharField()


class SessionSerializer(PairSerializer):
    """The answer to a login."""

    device = SessionDeviceSerializer()
    user = SessionUserSerializer()
    tenant = SessionTenantSerializer()
