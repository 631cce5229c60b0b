"""The addresses of the sync API, below the project's `/api/v1/`."""

from __future__ import annotations

from django.urls import path

from sync.api import digest_views, review_views, views
from sync.api.bulk import bulk_views
from sync.api.events import EventsView
from sync.api.pull_view import PullView

urlpatterns = [
    path("sync/push", views.PushView.as_view(), name="sync-push"),
    path("sync/pull", PullView.as_view(), name="sync-pull"),
    path("sync/digest", digest_views.DigestView.as_view(), name="sync-digest"),
    path("sync/rows", digest_views.RowsView.as_view(), name="sync-rows"),
    path("sync/events", EventsView.as_view(), name="sync-events"),
    path("sync/limits", views.LimitsView.as_view(), name="sync-limits"),
    path("sync/receipts/<str:key>", views.ReceiptView.as_view(), name="sync-receipt"),
    path("sync/quarantine/", review_views.QuarantineView.as_view(), name="sync-quarantine"),
    path(
        "sync/quarantine/<uuid:parked_id>/", review_views.ParkedView.as_view(), name="sync-parked"
    ),
    path(
        "sync/quarantine/<uuid:parked_id>/apply/",
        review_views.ApplyView.as_view(),
        name="sync-parked-apply",
    ),
    path(
        "sync/quarantine/<uuid:parked_id>/discard/",
        review_views.DiscardView.as_view(),
        name="sync-parked-discard",
    ),
    *(
        path(f"{name.replace('_', '-')}/bulk/", view.as_view(), name=f"{name}-bulk")
        for name, view in bulk_views().items()
    ),
]
