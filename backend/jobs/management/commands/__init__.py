"""`run_jobs`."""
