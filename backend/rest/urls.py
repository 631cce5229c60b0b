"""Addresses below `/api/v1/`: one for each collection, of several words with hyphens."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from backend.rest import views

router = SimpleRouter(use_regex_path=False)
router.register("territories", views.TerritoryViewSet, "territory")
router.register("sites", views.SiteViewSet, "site")
router.register("assets", views.AssetViewSet, "asset")
router.register("work-orders", views.WorkOrderViewSet, "work-order")
router.register("inspections", views.InspectionViewSet, "inspection")
router.register("notes", views.NoteViewSet, "note")
router.register("parts-used", views.PartUsedViewSet, "part-used")

urlpatterns = router.urls
