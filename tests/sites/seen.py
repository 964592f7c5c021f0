"""The mails that a mechanism has announced."""

from mailpush.notifications.notification import NewMail


class SeenMails(list[NewMail]):
    """Every mail that was announced, also those that found no room."""

    room: float = float("inf")
    """Mails that are kept from now on."""

    def keep(self, mail: NewMail) -> bool:
        """As the pod's inbox does."""
        self.append(mail)
        self.room -= 1
        return self.room >= 0
