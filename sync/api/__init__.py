"""The HTTP door to the engine: views parse, call and render; nothing is decided here."""
