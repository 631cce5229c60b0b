"""The domain's tables, step by step."""
