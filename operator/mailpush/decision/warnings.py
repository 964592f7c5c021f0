"""What works in a MailPushConfig, but perhaps not as meant: for its condition `Warning`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from mailpush import packages
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.decision.problems import Problem
from mailpush.properties import keys
from mailpush.properties.catalog import settings_of
from mailpush.properties.oxfiles import ox_files
from mailpush.properties.patterns import ClientPatterns
from mailpush.properties.settings import Settings

_SECRET: Final = re.compile(
    r"(password|passwd|passphrase|passcrypt|secret|token|api-?key|private-?key)$", re.IGNORECASE
)
_NO_SECRET: Final = frozenset({"", "true", "false"})


UNTOLD: Final = frozenset({"NobodyNotified", "RedisMissing"})
"""Warnings of notifications that go nowhere or get lost, though users are listened for."""


def config_warnings(spec: MailPushConfigSpec, settings: Settings | None) -> tuple[Problem, ...]:
    """What works, but perhaps not as meant. `settings`: what listeners would run by; None where unreadable."""
    return (
        *_notifications(spec, settings),
        *_allowed_clients(spec),
        *_package_names(spec),
        *_properties(spec),
        *_servers(spec),
        *_doveadm(spec, settings),
        *_passcrypt(settings),
    )


def _notifications(spec: MailPushConfigSpec, settings: Settings | None) -> Iterator[Problem]:
    if settings is None:
        return
    if not settings.webhooks:
        yield Problem(
            "NobodyNotified", "transports.webhooks is empty, so that nobody is notified of any mail: add a target"
        )
    if settings.redis is None and spec.listeners.replicas > 1:
        yield Problem(
            "RedisMissing",
            f"listeners.replicas is {spec.listeners.replicas} without redis, so that no pod knows what another has "
            "sent: where users move or a pod dies, mails notify twice or not at all; set redis.url, or one replica",
        )


def _allowed_clients(spec: MailPushConfigSpec) -> Iterator[Problem]:
    if keys.ALLOWED_CLIENT in spec.properties:
        yield Problem(
            "AllowedClientSpelling",
            f"properties has {keys.ALLOWED_CLIENT}, which OX itself does not read; it is taken as "
            f"{keys.ALLOWED_CLIENTS}: use the field allowedClients",
        )
    if spec.allowed_client is not None:
        yield Problem(
            "AllowedClientSpelling",
            "allowedClient is the spelling of OX's article, which OX itself does not read; it is taken as "
            "allowedClients: rename it",
        )
    by_property = [
        spec.properties[key] for key in (keys.ALLOWED_CLIENTS, keys.ALLOWED_CLIENT) if key in spec.properties
    ]
    if by_property:
        where, patterns = f"{keys.ALLOWED_CLIENTS} in properties", ClientPatterns.parse(by_property[0]).patterns
        everybody = not patterns
    else:
        where, patterns = "allowedClients", ()
        everybody = [] in (spec.allowed_clients, spec.allowed_client)
    if everybody:
        yield Problem("EveryClientAllowed", f"{where} is empty, which allows every client, as in OX")
    elif patterns and not any(patterns):
        yield Problem(
            "NoClientAllowed",
            f'{where} has only "", a pattern that no client matches, as in OX: name the clients, or leave it empty to '
            "allow all",
        )


def _package_names(spec: MailPushConfigSpec) -> Iterator[Problem]:
    fields: Mapping[str, Iterable[str]] = {
        "features.status": spec.features.status,
        "packages.status": spec.packages.status,
        "packages.whitelist": spec.packages.whitelist,
    }
    for field, names in fields.items():
        for name in names:
            if not packages.is_name(name):
                yield Problem(
                    "PackageNameInvalid",
                    f'{field} has "{name[:80]}", which no package can be called, and is passed over: a name has 1 to '
                    "253 characters, and neither commas nor blanks; list each package by itself",
                )


def _properties(spec: MailPushConfigSpec) -> Iterator[Problem]:
    given = spec.manifest()
    by_fields = {
        key: value
        for file in ox_files(spec, packages.in_effect(packages.effective_of(spec))).values()
        for key, value in file.items()
    }
    for key, value in sorted(spec.properties.items()):
        if _SECRET.search(key) and value.strip().lower() not in _NO_SECRET:
            yield Problem(
                "SecretInProperties",
                f"properties has {key}, which looks like a secret: whoever may read the MailPushConfig or its "
                "ConfigMap can read it; take it out, nothing here goes by it",
            )
        real = keys.ALLOWED_CLIENTS if key == keys.ALLOWED_CLIENT else key
        for setting in settings_of(real):
            if _given(given, setting.field) and _differ(real, by_fields.get(real, value), value):
                yield Problem(
                    "PropertyOverridesField",
                    f"properties has {key}, which wins over {setting.field}, and they differ: take one of them out",
                )


def _differ(key: str, one: str, other: str) -> bool:
    if key == keys.ALLOWED_CLIENTS:
        return ClientPatterns.parse(one) != ClientPatterns.parse(other)
    return one != other.strip()


def _given(spec: Mapping[str, Any], path: str) -> bool:
    """Whether a field is set, not left to its default."""
    here: Any = spec
    for name in path.split("."):
        if not isinstance(here, Mapping) or name not in here:
            return False
        here = here[name]
    return True


def _servers(spec: MailPushConfigSpec) -> Iterator[Problem]:
    for server in spec.mail_access.servers if spec.mail_access else ():
        if server.security == "none":
            yield Problem(
                "MailAccessInsecure",
                f"mailAccess.servers[{server.name}].security is none: passwords go in the clear; set it to starttls or "
                "tls, as the server offers",
            )
        elif server.insecure_skip_verify:
            yield Problem(
                "MailAccessInsecure",
                f"mailAccess.servers[{server.name}].insecureSkipVerify is true: anybody may pose as the server",
            )


def _passcrypt(settings: Settings | None) -> Iterator[Problem]:
    if settings is None or not settings.credential_storage.enabled or settings.passcrypt is None:
        return
    if not settings.passcrypt.isascii():
        yield Problem(
            "PasscryptNotAscii",
            "the passcrypt has characters beyond ASCII, which each OX reads in another way: passwords that OX stored "
            "are tried in all three; take one of ASCII, with this one as credentialStorage.passcryptPreviousSecretRef",
        )
    if settings.passcrypt_previous == settings.passcrypt:
        yield Problem(
            "PasscryptPreviousSame",
            "credentialStorage.passcryptPreviousSecretRef holds the current passcrypt, so nothing is encrypted anew: "
            "put the former one there, or take the field out",
        )
    if settings.passcrypt_previous is not None and settings.ox is not None:
        yield Problem(
            "RotationRefused",
            "credentialStorage.passcryptPreviousSecretRef only reads in OX's own table, which is never encrypted anew, "
            "as OX reads it too: change the passcrypt in OX",
        )


def _doveadm(spec: MailPushConfigSpec, settings: Settings | None) -> Iterator[Problem]:
    if settings is None:
        return
    prefers = settings.dovecot.prefer_doveadm_for_metadata
    if prefers and not settings.doveadm.enabled:
        yield Problem(
            "DoveadmMissing",
            f"{keys.DOVECOT_PREFER_DOVEADM} is true, but mailAccess.doveadm is off, so that users are registered by "
            "IMAP: switch one of them the other way",
        )
    if settings.doveadm.enabled and any(url.startswith("http://") for url in settings.doveadm.endpoints):
        yield Problem(
            "MailAccessInsecure",
            "an endpoint of mailAccess.doveadm begins with http://: its key, which opens every mailbox, goes in the "
            "clear; take https, unless the network is trusted",
        )
