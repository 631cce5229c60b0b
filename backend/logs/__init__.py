"""What the server writes down: a line for each request, for people or, as JSON, for machines."""
