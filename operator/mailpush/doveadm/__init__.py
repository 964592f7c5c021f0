"""Dovecot's doveadm HTTP API: what an administrator's key does to any mailbox, without a password of its user."""
