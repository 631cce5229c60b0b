"""How the project is served: from ASGI to Django's handler, in a bounded number of threads."""
