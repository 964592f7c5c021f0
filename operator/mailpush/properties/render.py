"""From a MailPushConfig to OX's property files and ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mailpush.api.mailaccess import MailAccess
from mailpush.api.mailpushconfig import LEAVE, Listeners, MailPushConfigSpec, Webhook
from mailpush.packages import effective_of, in_effect
from mailpush.properties import keys, secrets
from mailpush.properties.admin import ADMIN_PATHS
from mailpush.properties.catalog import settings_of, takes_a_restart
from mailpush.properties.format import dump
from mailpush.properties.hashes import config_hash_of, content_hash, keyed_hash
from mailpush.properties.oxfiles import ox_files
from mailpush.properties.patterns import ClientPatterns
from mailpush.properties.read import DEFAULT_PORTS, OX_LOGIN_SOURCES
from mailpush.properties.secrets import ResolvedSecrets
from mailpush.properties.sections import Properties, write_section
from mailpush.properties.stores import write_stores
from mailpush.properties.values import boolean


@dataclass(frozen=True, slots=True)
class RenderedConfig:
    """The files of one MailPushConfig, by name, and their hashes of 16 hexadecimal digits each."""

    files: Mapping[str, str]
    """For the ConfigMap that listeners watch."""
    boot_files: Mapping[str, str]
    """For the immutable ConfigMap: what takes a restart to change."""
    secret_files: Mapping[str, str] = field(repr=False)
    """For the Secret."""
    config_hash: str
    """Of `files` and `secrets_hash`; see `config_hash_of`."""
    boot_hash: str
    """Of `boot_files`; names their ConfigMap."""
    secrets_hash: str
    """Of `secret_files`, made with a key, so that it lets nobody try out passwords."""

    @property
    def directory(self) -> dict[str, str]:
        """All files as a pod sees them in one directory; what `read` takes."""
        return {**self.files, **self.boot_files, **self.secret_files}


def render(
    spec: MailPushConfigSpec, resolved: ResolvedSecrets, config_name: str, unregister: bool = False
) -> RenderedConfig:
    """The property files of a MailPushConfig. What a secret is needed for and it did not resolve to is left out.

    `unregister`: before an uninstall, listeners are to unregister every user at the mail server.

    Raises:
        PackageError: a package's status is neither enabled nor disabled.
        ValueError: `resolved.hash_key` is empty.
    """
    header = f'Rendered from MailPushConfig "{config_name}". Change that: what is edited here is put back.'
    properties, boot = _parted(_files(spec, unregister))
    files = {name: dump(content, header) for name, content in properties.items()}
    boot_files = {keys.BOOT_FILE: dump(boot, header)}
    secret_files = {keys.SECRETS_FILE: dump(_secrets(spec, resolved), header)}
    secrets_hash = keyed_hash(secret_files, resolved.hash_key)
    return RenderedConfig(
        files=files,
        boot_files=boot_files,
        secret_files=secret_files,
        config_hash=config_hash_of(files, secrets_hash),
        boot_hash=content_hash(boot_files),
        secrets_hash=secrets_hash,
    )


def _files(spec: MailPushConfigSpec, unregister: bool) -> dict[str, Properties]:
    packages = in_effect(effective_of(spec))
    files = _placed(ox_files(spec, packages))
    ours = files.setdefault(keys.LISTENER_FILE, {})
    ours |= _listener(spec, packages) | ({keys.UNREGISTER: "true"} if unregister else {})
    given = sorted(_verbatim(spec).items())
    if known := [key for key, _ in given if any(settings_of(key))]:
        ours[keys.BY_PROPERTY] = ", ".join(known)
    for key, value in given:
        files.setdefault(keys.file_of(key), {})[key] = value
    return files


def _placed(files: dict[str, Properties]) -> dict[str, Properties]:
    """Each property in the file of its name: a section may hold settings of ours beside OX's."""
    placed: dict[str, Properties] = {name: {} for name in files}
    for properties in files.values():
        for key, value in properties.items():
            placed.setdefault(keys.file_of(key), {})[key] = value
    return placed


def _parted(files: dict[str, Properties]) -> tuple[dict[str, Properties], Properties]:
    """What running listeners take, by file, and what takes a restart, in the order of the files."""
    boot: Properties = {}
    for properties in files.values():
        for key in [key for key in properties if takes_a_restart(key)]:
            boot[key] = properties.pop(key)
    return files, boot


def _verbatim(spec: MailPushConfigSpec) -> Properties:
    properties = dict(spec.properties)
    # OX's article names a property that OX's code does not read. Whoever follows it means the real one.
    if keys.ALLOWED_CLIENT in properties:
        properties.setdefault(keys.ALLOWED_CLIENTS, properties.pop(keys.ALLOWED_CLIENT))
    return properties


def _listener(spec: MailPushConfigSpec, packages: frozenset[str]) -> Properties:
    properties = {
        keys.PACKAGES: ", ".join(sorted(packages)),
        keys.MECHANISMS_ORDER: ", ".join(spec.mechanisms.order),
        **write_section(spec, "notification", packages),
        **write_section(spec, "catchUp", packages),
        **write_section(spec, "catchUp.sweep", packages),
    }
    properties |= write_stores(spec)
    if spec.deletion_policy == LEAVE:
        properties[keys.DELETION_POLICY] = LEAVE
    if spec.listeners.pod_overrides:
        properties |= _pods(spec.listeners)
    if spec.mail_access:
        properties |= _servers(spec.mail_access)
    if spec.transports.webhooks:
        properties[keys.WEBHOOKS] = ", ".join(webhook.name for webhook in spec.transports.webhooks)
        for webhook in spec.transports.webhooks:
            properties |= _webhook(webhook)
    return properties


def _pods(listeners: Listeners) -> Properties:
    overrides = sorted(listeners.pod_overrides, key=lambda override: override.ordinal)
    return {
        keys.REPLICAS: str(listeners.replicas),
        keys.PODS: ", ".join(str(override.ordinal) for override in overrides),
        **{
            keys.pod_key(override.ordinal, "allowPermanentPush"): boolean(override.allow_permanent_push)
            for override in overrides
        },
    }


def _servers(access: MailAccess) -> Properties:
    properties = {
        keys.USER_SECRETS: boolean(access.user_secrets.enabled),
        keys.SERVERS: ", ".join(server.name for server in access.servers),
    }
    if access.login_source not in OX_LOGIN_SOURCES:
        properties[keys.OUR_LOGIN_SOURCE] = access.login_source
    if access.master_user:
        properties[keys.MASTER_USER] = access.master_user.name
    for server in access.servers:
        properties |= {
            keys.server_key(server.name, "host"): server.host,
            keys.server_key(server.name, "port"): str(server.port or DEFAULT_PORTS[server.security]),
            keys.server_key(server.name, "security"): server.security,
            keys.server_key(server.name, "verify"): boolean(not server.insecure_skip_verify),
        }
        if server.server_name:
            properties[keys.server_key(server.name, "serverName")] = server.server_name
    return properties


def _webhook(webhook: Webhook) -> Properties:
    return {
        keys.webhook_key(webhook.name, "url"): webhook.url,
        keys.webhook_key(webhook.name, "clients"): ClientPatterns.parse(webhook.clients).source,
        keys.webhook_key(webhook.name, "timeout"): str(webhook.timeout_milliseconds),
    }


def _secrets(spec: MailPushConfigSpec, resolved: ResolvedSecrets) -> Properties:
    servers = spec.mail_access.servers if spec.mail_access else []
    paths = {
        keys.CREDSTORAGE_PASSCRYPT: secrets.PASSCRYPT,
        **secrets.STORE_PATHS,
        keys.MASTER_PASSWORD: secrets.MASTER_PASSWORD,
        keys.DOVEADM_API_SECRET: secrets.DOVEADM_API_SECRET,
        keys.DOVEADM_CA: secrets.DOVEADM_CA,
        **{keys.server_key(server.name, "ca"): secrets.server_ca(server.name) for server in servers},
        keys.CALLBACK_LOGIN: secrets.CALLBACK_LOGIN,
        keys.CALLBACK_PASSWORD: secrets.CALLBACK_PASSWORD,
        **ADMIN_PATHS,
        **{
            keys.webhook_key(webhook.name, "secret"): secrets.webhook_secret(webhook.name)
            for webhook in spec.transports.webhooks
        },
    }
    return {key: value for key, path in paths.items() if (value := resolved.get(path)) is not None}
