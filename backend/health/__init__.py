"""Whether the server lives, and whether it is ready for requests: `/livez` and `/readyz`."""
