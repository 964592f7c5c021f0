"""Queues, pace and clocks."""
