"""A real Kubernetes, a real Dovecot and a real Redis on one Debian machine, for the tests and the demo.

Run as `python -m dev`; imported by tests as `dev.controlplane`, `dev.services`, `dev.nodes`, `dev.binaries`.
Needs the standard library and click; nothing here is part of the product.
"""
