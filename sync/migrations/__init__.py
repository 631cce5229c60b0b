"""The engine's tables, step by step."""
