"""Fieldsync's reusable Django app: push, pull and the change feed, with no word of any domain."""
