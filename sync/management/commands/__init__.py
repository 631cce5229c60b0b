"""`sync_check`, `sync_prune`, `sync_new_epoch` and `sync_explain`."""
