"""One tenant as a whole, for the operator: moved to another installation, suspended, deleted."""
