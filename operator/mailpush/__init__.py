"""Permanent mail push listeners on Kubernetes."""

__version__ = "0.1.0"
