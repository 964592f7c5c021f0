"""Connections to the servers in which something is stored: Redis and SQL databases."""
