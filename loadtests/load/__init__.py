"""Crowds of devices against a real server: what they wait, what comes of their rows."""
