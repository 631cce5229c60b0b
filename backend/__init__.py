"""The Django project: wiring, accounts and the bundled domain; no rule of sync lives here."""
