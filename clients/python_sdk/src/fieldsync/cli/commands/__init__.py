"""Commands: one module for each kind; what they take in common is in `options`."""
