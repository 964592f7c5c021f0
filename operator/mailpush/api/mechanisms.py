"""How listeners learn of new mail: part of a MailPushConfig. Names and defaults of the properties are OX's."""

# ruff: noqa: RUF012 - pydantic copies a default that can change

from typing import Annotated, Literal

from pydantic import Field

from mailpush.api.meta import Milliseconds, Model, Port, rules


class DovecotSettings(Model):
    """Dovecot's push_notification with the OX driver. dovecot-push.properties"""

    enabled: bool | None = None
    """com.openexchange.push.dovecot.enabled. Default: whether open-xchange-push-dovecot is enabled."""
    stateless: bool = True
    """com.openexchange.push.dovecot.stateless. Whether an OX node keeps its listeners in memory. No effect here: a pod
    always knows for whom it listens."""
    cluster_lock: Literal["hz", "db", "none"] = "hz"
    """com.openexchange.push.dovecot.clusterLock. How OX nodes lock a user where stateless is false. No effect here: the
    ShardMap says which pod owns a user."""
    prefer_doveadm_for_metadata: bool = False
    """com.openexchange.push.dovecot.preferDoveadmForMetadata. True: register all users by doveadm rather than
    by IMAP. Needs mailAccess.doveadm.enabled."""
    user_form: Literal["ids", "login"] = "ids"
    """What names the user in Dovecot's callbacks. ids: <userId>@<contextId>, as mail-push registers it. login: a login
    name as well, as Dovecot sends it without user_from_metadata, and as others write it into the METADATA entry. It is
    compared, whatever its case, with what loginSource takes from a PushUser."""


class ImapIdleSettings(Model):
    """IMAP IDLE, one connection a user. push_imapidle.properties"""

    enabled: bool | None = None
    """com.openexchange.push.imapidle.enabled. Default: whether open-xchange-push-imapidle is enabled."""
    supports_permanent_listeners: bool = False
    """com.openexchange.push.imapidle.supportsPermanentListeners. Off as in OX: it holds one connection a user."""
    account_id: Annotated[int, Field(ge=0, le=2147483647)] = 0
    """com.openexchange.push.imapidle.accountId. The mail account; 0 is the primary one, the only one that can be
    listened to (any other says NotYetSupported)."""
    folder: Annotated[str, Field(min_length=1, max_length=512)] = "INBOX"
    """com.openexchange.push.imapidle.folder. The folder that is watched."""
    delay: Milliseconds = 5000
    """com.openexchange.push.imapidle.delay in milliseconds: the least time between two attempts to connect."""
    push_mode: Literal["always", "newmail"] = "always"
    """com.openexchange.push.imapidle.pushMode. newmail: only new mail notifies. always: also where mail was deleted."""
    cluster_lock: Literal["hz", "db", "local", "none"] = "hz"
    """com.openexchange.push.imapidle.clusterLock. How OX nodes lock a user. No effect here: the ShardMap says which pod
    owns a user."""
    validate_session_existence: bool = False
    """com.openexchange.push.imapidle.clusterLock.validateSessionExistence. Whether OX checks that the session of a lock
    still lives. No effect here."""
    check_periodic: bool = False
    """com.openexchange.push.imapidle.checkPeriodic. How OX finds IDLE connections that have run out. No effect here:
    every connection renews itself."""


class MailNotifySettings(Model):
    """UDP packets of a mail server. push_mailnotify.properties (not supported yet: a MailPushConfig with the package
    open-xchange-push-mailnotify says NotYetSupported)"""

    enabled: bool | None = None
    """com.openexchange.push.mail.notify.enabled. Default: whether open-xchange-push-mailnotify is enabled."""
    udp_listen_multicast: bool = False
    """com.openexchange.push.mail.notify.udp_listen_multicast. True: join the group udpListenHost instead of binding."""
    udp_listen_host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]+$", max_length=253)] = "localhost"
    """com.openexchange.push.mail.notify.udp_listen_host. The address to bind, or the multicast group."""
    udp_listen_port: Port = 23420
    """com.openexchange.push.mail.notify.udp_listen_port. The UDP port."""
    imap_login_delimiter: Annotated[str, Field(min_length=1, max_length=16)] | None = None
    """com.openexchange.push.mail.notify.imap_login_delimiter. The mailbox name is cut at the first one. Default: it is
    not cut."""
    use_ox_login: bool = False
    """com.openexchange.push.mail.notify.use_ox_login. True: the OX login is taken as a mailbox name too; unsafe with
    several contexts."""
    use_full_email_address: bool = False
    """com.openexchange.push.mail.notify.use_full_email_address. True: mailboxes go by full addresses, which several
    domains need."""
    delay_millis: Milliseconds = 5000
    """com.openexchange.push.mail.notify.delay_millis. How long packets are pooled before they notify."""


class Mechanisms(Model):
    """How listeners learn of new mail."""

    order: Annotated[
        list[Literal["dovecot", "imapidle", "mailnotify"]],
        Field(
            max_length=3,
            json_schema_extra=rules(
                ("self.all(one, self.exists_one(other, other == one))", "mechanisms.order names a mechanism twice")
            ),
        ),
    ] = [
        "dovecot",
        "imapidle",
        "mailnotify",
    ]
    """Which is tried first where several are enabled for a user: the first that starts is taken. One that is left out
    comes last."""
    dovecot: DovecotSettings = DovecotSettings()
    """Dovecot's push_notification."""
    imapidle: ImapIdleSettings = ImapIdleSettings()
    """IMAP IDLE."""
    mailnotify: MailNotifySettings = MailNotifySettings()
    """UDP packets of a mail server."""
