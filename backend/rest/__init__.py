"""The plain API of the domain: lists, single rows and actions, for dashboards and office pages."""
