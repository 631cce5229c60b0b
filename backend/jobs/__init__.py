"""What runs once a day, in the place of a cron: `manage.py run_jobs`."""
