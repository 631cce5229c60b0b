"""Sets Django up, for the entry that imports this before all that needs it so."""

from __future__ import annotations

import os

import django

from backend.metrics.processes import share_figures

share_figures()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings.production")
django.setup(set_prefix=False)
