"""The property files that OX knows, from a MailPushConfig."""

from mailpush.api.mailaccess import Doveadm, MailAccess, MailServer
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.properties import keys
from mailpush.properties.patterns import ClientPatterns
from mailpush.properties.read import DEFAULT_ALLOWED_CLIENTS, DEFAULT_PORTS, OX_LOGIN_SOURCES
from mailpush.properties.sections import Properties, write_section
from mailpush.properties.values import boolean


def ox_files(spec: MailPushConfigSpec, packages: frozenset[str]) -> dict[str, Properties]:
    """Files by name. A file of which nothing is used is left out; secrets stand in none of them.

    `packages`: those in effect.
    """
    files = {
        keys.MAIL_PUSH_FILE: _mail_push(spec, packages),
        keys.MAIL_FILE: _mail(spec.mail_access) if spec.mail_access else {},
        keys.DOVECOT_FILE: write_section(spec, "mechanisms.dovecot", packages),
        keys.IMAPIDLE_FILE: write_section(spec, "mechanisms.imapidle", packages),
        keys.MAILNOTIFY_FILE: write_section(spec, "mechanisms.mailnotify", packages),
    }
    doveadm = spec.mail_access.doveadm if spec.mail_access else Doveadm()
    if doveadm != Doveadm():
        files[keys.DOVEADM_FILE] = write_section(spec, "mailAccess.doveadm", packages)
    return files


def _mail_push(spec: MailPushConfigSpec, packages: frozenset[str]) -> Properties:
    return {
        keys.ALLOW_PERMANENT_PUSH: boolean(spec.allow_permanent_push),
        keys.ALLOWED_CLIENTS: _allowed_clients(spec),
        **write_section(spec, "credentialStorage", packages),
        **write_section(spec, "reschedule", packages),
    }


def _allowed_clients(spec: MailPushConfigSpec) -> str:
    patterns = spec.allowed_client if spec.allowed_clients is None else spec.allowed_clients
    return ClientPatterns.parse(DEFAULT_ALLOWED_CLIENTS if patterns is None else patterns).source


def _mail(access: MailAccess) -> Properties:
    properties: Properties = {
        keys.PASSWORD_SOURCE: access.password_source,
        keys.MAIL_SERVER_SOURCE: access.mail_server_source,
        keys.SANE_LOGIN: boolean(access.sane_login),
    }
    if access.login_source in OX_LOGIN_SOURCES:
        properties[keys.LOGIN_SOURCE] = access.login_source
    if access.auth_proxy_delimiter:
        properties[keys.AUTH_PROXY_DELIMITER] = access.auth_proxy_delimiter
    if access.mail_server_source == "global" and access.servers:
        properties[keys.MAIL_SERVER] = _url(access.servers[0])
        properties[keys.MAIL_STARTTLS] = boolean(access.servers[0].security == "starttls")
    return properties


def _url(server: MailServer) -> str:
    """As OX takes a mail server: a URL, which has no word for STARTTLS."""
    scheme = "imaps" if server.security == "tls" else "imap"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{scheme}://{host}:{server.port or DEFAULT_PORTS[server.security]}"
