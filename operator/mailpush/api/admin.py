"""The admin endpoint of the listener pods in a MailPushConfig."""

from mailpush.api.meta import LocalReference, Model


class Admin(Model):
    """Where the command pushusers asks a listener pod for its listeners: port 1099 of each pod."""

    auth_secret_ref: LocalReference | None = None
    """A Secret with the keys login and password: what pushusers is given with -A and -P. Default: nobody is let in."""
    tls_secret_ref: LocalReference | None = None
    """A Secret with the keys tls.crt and tls.key, with which the endpoint talks TLS. Default: plain HTTP."""
