"""The addresses of the sync API, below the project's `/api/v1/`."""

from __future__ import annotations

from django.urls import path

from sync.api import views

urlpatterns = [
    path("sync/push", views.PushView.as_view(), name="sync-push"),
    path("sync/pull", views.PullView.as_view(), name="sync-pull"),
    path("sync/limits", views.LimitsView.as_view(), name="sync-limits"),
    path("sync/receipts/<str:key>", views.ReceiptView.as_view(), name="sync-receipt"),
]
