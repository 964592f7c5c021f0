"""The METADATA entry with which Dovecot's OX push driver is told to call for a user, whichever way it is written."""

from typing import Final

from mailpush.listener.mechanisms.base import Mailbox
from mailpush.notifications.callback import registered_user

ENTRY: Final = "/private/vendor/vendor.dovecot/http-notify"
RECHECK_SECONDS: Final = 6 * 3600.0


def registration(mailbox: Mailbox) -> str:
    """The entry's value as OX writes it: `user=<userId>@<contextId>`; Dovecot sends back what is behind `user=`.

    With a mark it ends in `#<mark>`, as long as another mailbox still has the plain one.
    """
    return f"user={registered_user(mailbox.context_id, mailbox.user_id, mailbox.mark)}"
