"""`make bench-stale`: cold starts of many users, with and without stale passwords, at a Dovecot with its penalty."""
