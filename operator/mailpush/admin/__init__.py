"""The admin endpoint that `pushusers` talks to: the part that operator and listener pods share."""
