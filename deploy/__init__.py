"""Files for those who run the server; see docs/deploy.md."""
