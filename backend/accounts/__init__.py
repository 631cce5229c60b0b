"""Accounts: tenants, users, their roles in each tenant, their devices, and logging in."""
