"""The property files that OX knows, from a MailPushConfig."""

from mailpush.api.mailaccess import Doveadm, MailAccess, MailServer
from mailpush.api.mailpushconfig import MailPushConfigSpec, Reschedule
from mailpush.api.mechanisms import DovecotMechanism, ImapIdleMechanism, MailNotifyMechanism
from mailpush.packages import DOVECOT, IMAPIDLE, MAILNOTIFY
from mailpush.properties import keys
from mailpush.properties.patterns import ClientPatterns
from mailpush.properties.read import DEFAULT_ALLOWED_CLIENTS, DEFAULT_PORTS

Properties = dict[str, str]


def ox_files(spec: MailPushConfigSpec, packages: frozenset[str]) -> dict[str, Properties]:
    """Files by name. A file of which nothing is used is left out; secrets stand in none of them.

    `packages`: those in effect.
    """
    files = {
        keys.MAIL_PUSH_FILE: _mail_push(spec),
        keys.MAIL_FILE: _mail(spec.mail_access) if spec.mail_access else {},
        keys.DOVECOT_FILE: _dovecot(spec.mechanisms.dovecot, DOVECOT in packages),
        keys.IMAPIDLE_FILE: _imapidle(spec.mechanisms.imapidle, IMAPIDLE in packages),
        keys.MAILNOTIFY_FILE: _mailnotify(spec.mechanisms.mailnotify, MAILNOTIFY in packages),
    }
    doveadm = spec.mail_access.doveadm if spec.mail_access else Doveadm()
    if doveadm != Doveadm():
        files[keys.DOVEADM_FILE] = _doveadm(doveadm)
    return files


def boolean(value: bool) -> str:
    """As a property file has it."""
    return "true" if value else "false"


def _mail_push(spec: MailPushConfigSpec) -> Properties:
    return {
        keys.ALLOW_PERMANENT_PUSH: boolean(spec.allow_permanent_push),
        keys.ALLOWED_CLIENTS: _allowed_clients(spec),
        keys.CREDSTORAGE_ENABLED: boolean(spec.credential_storage.enabled),
        keys.CREDSTORAGE_RDB: boolean(spec.credential_storage.rdb),
        **_reschedule(spec.reschedule),
    }


def _allowed_clients(spec: MailPushConfigSpec) -> str:
    patterns = spec.allowed_client if spec.allowed_clients is None else spec.allowed_clients
    return ClientPatterns.parse(DEFAULT_ALLOWED_CLIENTS if patterns is None else patterns).source


def _reschedule(reschedule: Reschedule) -> Properties:
    """Only what is set: nothing of it has an effect here."""
    properties: Properties = {}
    if reschedule.on_registration is not None:
        properties[keys.RESCHEDULE_ON_REGISTRATION] = boolean(reschedule.on_registration)
    if reschedule.delay_duration is not None:
        properties[keys.RESCHEDULE_DELAY] = str(reschedule.delay_duration)
    if reschedule.timer_frequency is not None:
        properties[keys.RESCHEDULE_FREQUENCY] = str(reschedule.timer_frequency)
    return properties


def _mail(access: MailAccess) -> Properties:
    properties: Properties = {
        keys.PASSWORD_SOURCE: access.password_source,
        keys.LOGIN_SOURCE: access.login_source,
        keys.MAIL_SERVER_SOURCE: access.mail_server_source,
    }
    if access.auth_proxy_delimiter:
        properties[keys.AUTH_PROXY_DELIMITER] = access.auth_proxy_delimiter
    if access.mail_server_source == "global" and access.servers:
        properties[keys.MAIL_SERVER] = _url(access.servers[0])
    return properties


def _url(server: MailServer) -> str:
    """As OX takes a mail server: a URL; STARTTLS is another property's business there."""
    scheme = "imaps" if server.security == "tls" else "imap"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{scheme}://{host}:{server.port or DEFAULT_PORTS[server.security]}"


def _dovecot(dovecot: DovecotMechanism, package_enabled: bool) -> Properties:
    return {
        keys.DOVECOT_ENABLED: boolean(_either(dovecot.enabled, package_enabled)),
        keys.DOVECOT_STATELESS: boolean(dovecot.stateless),
        keys.DOVECOT_CLUSTER_LOCK: dovecot.cluster_lock,
        keys.DOVECOT_PREFER_DOVEADM: boolean(dovecot.prefer_doveadm_for_metadata),
    }


def _doveadm(doveadm: Doveadm) -> Properties:
    return {
        keys.DOVEADM_ENABLED: boolean(doveadm.enabled),
        keys.DOVEADM_ENDPOINTS: ", ".join(doveadm.endpoints),
        keys.DOVEADM_TOTAL_CONNECTIONS: str(doveadm.total_connections),
        keys.DOVEADM_CONNECTIONS_PER_ROUTE: str(doveadm.max_connections_per_route),
        keys.DOVEADM_READ_TIMEOUT: str(doveadm.read_timeout),
        keys.DOVEADM_CONNECT_TIMEOUT: str(doveadm.connect_timeout),
        keys.DOVEADM_CHECK_INTERVAL: str(doveadm.check_interval),
    }


def _imapidle(idle: ImapIdleMechanism, package_enabled: bool) -> Properties:
    return {
        keys.IMAPIDLE_ENABLED: boolean(_either(idle.enabled, package_enabled)),
        keys.IMAPIDLE_PERMANENT: boolean(idle.supports_permanent_listeners),
        keys.IMAPIDLE_ACCOUNT: str(idle.account_id),
        keys.IMAPIDLE_FOLDER: idle.folder,
        keys.IMAPIDLE_DELAY: str(idle.delay),
        keys.IMAPIDLE_PUSH_MODE: idle.push_mode,
        keys.IMAPIDLE_CLUSTER_LOCK: idle.cluster_lock,
        keys.IMAPIDLE_VALIDATE_SESSION: boolean(idle.validate_session_existence),
        keys.IMAPIDLE_CHECK_PERIODIC: boolean(idle.check_periodic),
    }


def _mailnotify(notify: MailNotifyMechanism, package_enabled: bool) -> Properties:
    properties: Properties = {
        keys.MAILNOTIFY_ENABLED: boolean(_either(notify.enabled, package_enabled)),
        keys.MAILNOTIFY_MULTICAST: boolean(notify.udp_listen_multicast),
        keys.MAILNOTIFY_HOST: notify.udp_listen_host,
        keys.MAILNOTIFY_PORT: str(notify.udp_listen_port),
        keys.MAILNOTIFY_OX_LOGIN: boolean(notify.use_ox_login),
        keys.MAILNOTIFY_FULL_ADDRESS: boolean(notify.use_full_email_address),
        keys.MAILNOTIFY_DELAY: str(notify.delay_millis),
    }
    if notify.imap_login_delimiter:
        properties[keys.MAILNOTIFY_DELIMITER] = notify.imap_login_delimiter
    return properties


def _either(explicit: bool | None, otherwise: bool) -> bool:
    return otherwise if explicit is None else explicit
