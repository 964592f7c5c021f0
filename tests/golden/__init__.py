"""Inputs and the files that are rendered from them, to read beside each other."""
