"""Settings of the project, one module a stage.

    variables   the table of environment variables, and the reader that reports all bad ones
    base        what every stage shares
    demo, test, production     what differs; one of them is DJANGO_SETTINGS_MODULE

`docs/settings.md` lists every variable.
"""
