"""The fieldwork app, as Django knows it."""

from __future__ import annotations

from django.apps import AppConfig


class FieldworkConfig(AppConfig):
    """Work orders, inspections, and the places they are about."""

    name = "backend.fieldwork"
    label = "fieldwork"
    verbose_name = "Fieldwork"
