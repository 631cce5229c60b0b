"""The bundled domain: work orders and inspections of a field service."""
