"""`seed_demo` and `import_repairs`."""
