"""The figures as a Django app: they listen to the engine."""

from __future__ import annotations

from django.apps import AppConfig


class MetricsConfig(AppConfig):
    """Figures for Prometheus."""

    name = "backend.metrics"
    label = "metrics"

    def ready(self) -> None:
        """Count what the engine tells of."""
        from backend.metrics.instruments import count_push
        from sync.signals import push_answered

        push_answered.connect(count_push, dispatch_uid="metrics")
