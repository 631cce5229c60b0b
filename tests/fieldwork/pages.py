"""Pages of the admin, as a browser meets them."""

from __future__ import annotations

from typing import Any

from django.test import Client
from django.urls import reverse

from tests.phones import Phone


def page_of(row: Any, page: str = "change") -> str:
    return reverse(f"admin:fieldwork_{type(row)._meta.model_name}_{page}", args=[row.pk])


def form_of(office: Client, url: str) -> dict[str, Any]:
    """Return what a browser would send if nothing were changed."""
    form = office.get(url).context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    inlines = {"tasks-TOTAL_FORMS": "0", "tasks-INITIAL_FORMS": "0"}
    answers = {"answers-TOTAL_FORMS": "0", "answers-INITIAL_FORMS": "0"}
    return (
        {name: "" if value is None else value for name, value in values.items()}
        | inlines
        | answers
    )


def parked(phone: Phone, *mutations: dict[str, Any]) -> list[str]:
    return [line["quarantine_id"] for line in phone.push(*mutations)]
