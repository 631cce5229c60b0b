"""`sync_check` and `sync_prune`."""
