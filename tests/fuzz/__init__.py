"""Hostile bytes for whatever reads what strangers send: `make fuzz` searches, the unit tests replay what was found."""
