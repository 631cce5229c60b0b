"""`tenant_export`, `tenant_import`, `tenant_suspend`, `tenant_delete`."""
