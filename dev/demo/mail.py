"""Delivers the demo's mails and gathers the notifications of each."""

import email.message
import email.utils
import json
import smtplib
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from dev.demo.users import DemoUser


@dataclass
class Delivered:
    """One mail and each notification of it."""

    user: DemoUser
    subject: str
    sent: float
    """Unix seconds when its LMTP session began."""
    notifications: list[dict[str, Any]] = field(default_factory=list)

    @property
    def milliseconds(self) -> float | None:
        """From the start of the delivery to the arrival of the first notification."""
        return (self.notifications[0]["arrived"] - self.sent) * 1000 if self.notifications else None


def deliver(lmtp: tuple[str, int], user: DemoUser, subject: str) -> None:
    """Hands one mail to Dovecot as an MTA does; returns once Dovecot has it.

    Raises:
        OSError: Dovecot cannot be reached, refuses the mail (`smtplib.SMTPException`), or takes longer than 30 s.
    """
    message = email.message.EmailMessage()
    message["From"] = "Alice Ä <alice@example.org>"
    message["To"] = f"{user.login}@example.org"
    message["Subject"] = subject
    message["Date"] = email.utils.localtime()
    message["Message-ID"] = email.utils.make_msgid(domain="example.org")
    message.set_content("Grüße aus dem Demo.\n")
    with smtplib.LMTP(*lmtp, local_hostname="localhost", timeout=30) as client:
        client.send_message(message, "alice@example.org", [user.login])


def received(receiver: str) -> dict[str, list[dict[str, Any]]]:
    """The receiver's notifications by their mail's subject, in the order of arrival."""
    with urllib.request.urlopen(receiver + "received", timeout=30) as answer:
        entries = json.load(answer)
    by_subject: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        by_subject.setdefault(entry["body"]["data"].get("subject", "?"), []).append(entry)
    return by_subject


class Mails:
    """What was delivered at `lmtp` (host, port) and what arrived at the receiver (a URL)."""

    def __init__(self, lmtp: tuple[str, int], receiver: str) -> None:
        self._lmtp = lmtp
        self._receiver = receiver
        self.sent: list[Delivered] = []

    def deliver(self, user: DemoUser) -> Delivered:
        """Hands one mail to Dovecot as an MTA does; returns once Dovecot has it."""
        subject = f"mail {len(self.sent) + 1}"
        delivered = Delivered(user, subject, time.time())
        deliver(self._lmtp, user, subject)
        self.sent.append(delivered)
        return delivered

    def collect(self) -> None:
        """Reads the receiver and sorts its notifications to the mails."""
        by_subject = received(self._receiver)
        for delivered in self.sent:
            delivered.notifications = by_subject.get(delivered.subject, [])

    def wait(self, mails: list[Delivered], seconds: float = 120) -> None:
        """Waits until each of `mails` has notified, or so many seconds are over."""
        end = time.monotonic() + seconds
        while True:
            self.collect()
            if all(delivered.notifications for delivered in mails) or time.monotonic() > end:
                return
            time.sleep(0.1)


def percentile(values: list[float], share: float) -> float | None:
    """Nearest rank; None where there is nothing."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, round(share * len(ranked) + 0.5) - 1))] if ranked else None
