"""The mechanisms' property files, read: `dovecot-push`, `doveadm`, `push_imapidle` and `push_mailnotify`."""

from typing import Final

from mailpush.packages import DOVECOT, IMAPIDLE, MAILNOTIFY
from mailpush.properties import keys
from mailpush.properties.lookup import Lookup
from mailpush.properties.settings import (
    DoveadmSettings,
    DovecotSettings,
    ImapIdleSettings,
    MailNotifySettings,
    RescheduleSettings,
)

DAY_MS: Final = 86_400_000
BIGGEST_INTEGER: Final = 2_147_483_647
DOVECOT_LOCKS: Final = ("hz", "db", "none")
IMAPIDLE_LOCKS: Final = ("hz", "db", "local", "none")


def read_dovecot(lookup: Lookup, packages: frozenset[str]) -> DovecotSettings:
    """`dovecot-push.properties`; on where its package is, unless it says otherwise."""
    return DovecotSettings(
        enabled=lookup.boolean(keys.DOVECOT_ENABLED, DOVECOT in packages),
        stateless=lookup.boolean(keys.DOVECOT_STATELESS, True),
        # OX takes any other word as none.
        cluster_lock=_known(lookup.text(keys.DOVECOT_CLUSTER_LOCK), DOVECOT_LOCKS),
        prefer_doveadm_for_metadata=lookup.boolean(keys.DOVECOT_PREFER_DOVEADM, False),
    )


def read_doveadm(lookup: Lookup) -> DoveadmSettings:
    """`doveadm.properties`."""
    return DoveadmSettings(
        enabled=lookup.boolean(keys.DOVEADM_ENABLED, False),
        endpoints=lookup.names(keys.DOVEADM_ENDPOINTS),
        api_secret=lookup.secret(keys.DOVEADM_API_SECRET) or None,
        total_connections=lookup.integer(keys.DOVEADM_TOTAL_CONNECTIONS, 100, 1, 10_000),
        max_connections_per_route=lookup.integer(keys.DOVEADM_CONNECTIONS_PER_ROUTE, 0, 0, 10_000),
        read_timeout_ms=lookup.integer(keys.DOVEADM_READ_TIMEOUT, 10_000, 0, DAY_MS),
        connect_timeout_ms=lookup.integer(keys.DOVEADM_CONNECT_TIMEOUT, 3000, 0, DAY_MS),
        check_interval_ms=lookup.integer(keys.DOVEADM_CHECK_INTERVAL, 60_000, 0, DAY_MS),
    )


def read_imapidle(lookup: Lookup, packages: frozenset[str]) -> ImapIdleSettings:
    """`push_imapidle.properties`; on where its package is, unless it says otherwise."""
    return ImapIdleSettings(
        enabled=lookup.boolean(keys.IMAPIDLE_ENABLED, IMAPIDLE in packages),
        supports_permanent_listeners=lookup.boolean(keys.IMAPIDLE_PERMANENT, False),
        folder=lookup.text(keys.IMAPIDLE_FOLDER) or "INBOX",
        delay_ms=lookup.integer(keys.IMAPIDLE_DELAY, 5000, 0, DAY_MS),
        push_mode=lookup.choice(keys.IMAPIDLE_PUSH_MODE, "always", ("always", "newmail")),
        account_id=lookup.integer(keys.IMAPIDLE_ACCOUNT, 0, 0, BIGGEST_INTEGER),
        cluster_lock=_known(lookup.text(keys.IMAPIDLE_CLUSTER_LOCK), IMAPIDLE_LOCKS),
        validate_session_existence=lookup.boolean(keys.IMAPIDLE_VALIDATE_SESSION, False),
        check_periodic=lookup.boolean(keys.IMAPIDLE_CHECK_PERIODIC, False),
    )


def read_mailnotify(lookup: Lookup, packages: frozenset[str]) -> MailNotifySettings:
    """`push_mailnotify.properties`; on where its package is, unless it says otherwise."""
    return MailNotifySettings(
        enabled=lookup.boolean(keys.MAILNOTIFY_ENABLED, MAILNOTIFY in packages),
        udp_listen_multicast=lookup.boolean(keys.MAILNOTIFY_MULTICAST, False),
        udp_listen_host=lookup.text(keys.MAILNOTIFY_HOST) or "localhost",
        udp_listen_port=lookup.integer(keys.MAILNOTIFY_PORT, 23420, 1, 65535),
        imap_login_delimiter=lookup.text(keys.MAILNOTIFY_DELIMITER) or None,
        use_ox_login=lookup.boolean(keys.MAILNOTIFY_OX_LOGIN, False),
        use_full_email_address=lookup.boolean(keys.MAILNOTIFY_FULL_ADDRESS, False),
        delay_ms=lookup.integer(keys.MAILNOTIFY_DELAY, 5000, 0, DAY_MS),
    )


def read_reschedule(lookup: Lookup) -> RescheduleSettings:
    """What `mail-push.properties` says of sharing out users anew."""
    return RescheduleSettings(
        on_registration=lookup.boolean(keys.RESCHEDULE_ON_REGISTRATION, False),
        delay_duration_ms=lookup.integer(keys.RESCHEDULE_DELAY, 5000, 0, DAY_MS),
        timer_frequency_ms=lookup.integer(keys.RESCHEDULE_FREQUENCY, 2000, 0, DAY_MS),
    )


def _known(word: str | None, words: tuple[str, ...]) -> str:
    if not word:
        return words[0]
    return word if word in words else "none"
