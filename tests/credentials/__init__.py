"""`make credentials`: the credential storage under stale passwords, lost pods, wrong passcrypts and lost stores.

Operator and listeners are processes on the real control plane, with a real Dovecot, Redis and MariaDB.
"""
