"""The way of a new mail: callback, journal, hand-over to the owner."""
