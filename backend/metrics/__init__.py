"""Figures for Prometheus: what the server does, in all of its processes, and how the feeds are."""
