"""Processes and folders that end with whoever asked for them, and what is said meanwhile."""
