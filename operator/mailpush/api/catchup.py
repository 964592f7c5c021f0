"""What becomes of mails that nobody was told of when they arrived: part of a MailPushConfig."""

from typing import Annotated

from pydantic import Field

from mailpush.api.meta import Model


class Sweep(Model):
    """Mails of users of mechanism dovecot whose callbacks were lost or refused."""

    enabled: bool = True
    """True: where a mailbox is logged in to anyway, such as by its new owner, it is looked into for mails that no
    callback has told of; and all are, one after the other, when callbacks may be lost, such as with a pod. False:
    nobody looks, and such a mail is told by no notification."""
    rate: Annotated[int, Field(ge=1, le=10000)] = 50
    """Logins a second at one mail server for that, of all pods together."""


class CatchUp(Model):
    """Mails that nobody was told of when they arrived: between two owners, or while a connection or a pod was lost."""

    max_age: Annotated[int, Field(ge=60, le=86400)] = 3600
    """In seconds. A mail is told late only if it arrived at most so long ago, by the date that the mail server has for
    it: what a restore or a migration brings back is older, and notifies nobody."""
    sweep: Sweep = Sweep()
    """Mails of users of mechanism dovecot whose callbacks were lost or refused."""
