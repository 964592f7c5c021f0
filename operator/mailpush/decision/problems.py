"""What keeps a whole MailPushConfig from working, for its conditions."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mailpush import packages
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.api.meta import SecretKeyReference
from mailpush.decision.chain import site_refusals
from mailpush.decision.facts import site_facts
from mailpush.properties import keys
from mailpush.properties.secrets import MASTER_PASSWORD, PASSCRYPT, purpose_of, secret_references
from mailpush.properties.settings import Settings

_SESSION_OR_GLOBAL = (
    'mailAccess.passwordSource ("global" with mailAccess.masterPasswordSecretRef, or "session" with '
    "credentialStorage.enabled, mailAccess.userSecrets.enabled, mailAccess.oauth.enabled or "
    "mailAccess.doveadm.enabled: true)"
)


class Problem(NamedTuple):
    """One thing that is wrong."""

    reason: str
    """A stable word in CamelCase for a condition."""
    message: str
    """What is the case and what to do."""


def config_problems(
    spec: MailPushConfigSpec,
    settings: Settings | None,
    missing_secrets: Sequence[str] = (),
    unpermitted_secrets: Sequence[str] = (),
) -> tuple[Problem, ...]:
    """What keeps listeners from running, the gravest first: the reason of `Ready=False`. Empty where nothing does.

    Args:
        settings: what listeners would run by; None where that cannot be read.
        missing_secrets: paths of fields whose Secret or key does not exist (`ResolvedSecrets.missing`).
        unpermitted_secrets: paths of fields whose Secret is not marked for this use (`ResolvedSecrets.unpermitted`).
    """
    named = dict(secret_references(spec))
    found = [
        *_packages(spec),
        *_not_yet_supported(spec, settings),
        *_mail_access(spec),
        *_passcrypt(spec),
        *_doveadm(spec, settings),
        *(_missing(path, named.get(path)) for path in missing_secrets),
        *(_unpermitted(path, named.get(path)) for path in unpermitted_secrets),
    ]
    if settings is not None:
        said = {problem.reason for problem in found}
        if "PackageConflict" in said:
            said.add("NoPushPackage")
        if MASTER_PASSWORD in (*missing_secrets, *unpermitted_secrets):
            said.add("MasterPasswordMissing")
        found += (
            Problem(refusal.reason, refusal.message)
            for refusal in site_refusals(site_facts(settings))
            if refusal.reason not in said
        )
    if settings is not None:
        found += _stores(spec, settings)
    if spec.listeners.replicas == 0:
        found.append(Problem("ListenersScaledToZero", "listeners.replicas is 0: nothing listens until it is raised"))
    return tuple(found)


def _stores(spec: MailPushConfigSpec, settings: Settings) -> Iterator[Problem]:
    """What several pods cannot share. With one pod each store may be its own."""
    storage, several = settings.credential_storage, spec.listeners.replicas > 1
    by_master = settings.mail is not None and settings.mail.password_source == "global"  # noqa: S105 - OX's word
    if not storage.enabled or settings.ox is not None or by_master:
        return
    if storage.rdb and several and (settings.database is None or settings.database.url.startswith("sqlite:")):
        yield Problem(
            "DatabaseMissing",
            "credentialStorage.rdb is true, but there is no database that all pods share: set "
            "credentialStorage.database.url to one, such as mysql://mariadb:3306/mailpush, or listeners.replicas to 1",
        )
    if not storage.rdb and several and settings.redis is None:
        yield Problem(
            "CredentialStorageNotShared",
            "credentialStorage.rdb is false, but there is no cluster memory that all pods share: set redis.url, or "
            "credentialStorage.rdb to true with a database, or listeners.replicas to 1",
        )


def _passcrypt(spec: MailPushConfigSpec) -> Iterator[Problem]:
    """The storage may be switched on by its property alone, which admission does not look into."""
    storage = spec.credential_storage
    by_property = spec.properties.get(keys.CREDSTORAGE_ENABLED, "").strip().lower() == "true"
    if by_property and storage.passcrypt_secret_ref is None and not storage.generate_passcrypt:
        yield Problem(
            "PasscryptMissing",
            f"properties has {keys.CREDSTORAGE_ENABLED}: true, so a passcrypt is needed: set "
            "credentialStorage.passcryptSecretRef, as the passphrase itself is a secret and stands in no property",
        )


def _doveadm(spec: MailPushConfigSpec, settings: Settings | None) -> Iterator[Problem]:
    """It may be switched on by its property alone, which admission does not look into."""
    if settings is None or not settings.doveadm.enabled:
        return
    place = site_facts(settings).place("mailAccess.doveadm.enabled", keys.DOVEADM_ENABLED)
    lacking = [] if settings.doveadm.endpoints else ["mailAccess.doveadm.endpoints (http://dovecot:8080/doveadm/v1)"]
    if spec.mail_access is None or spec.mail_access.doveadm.api_secret_ref is None:
        lacking.append("mailAccess.doveadm.apiSecretRef (the key itself is a secret and stands in no property)")
    if lacking:
        yield Problem("DoveadmIncomplete", f"{place} is true: set {' and '.join(lacking)}")


def _missing(path: str, reference: SecretKeyReference | None) -> Problem:
    if path == PASSCRYPT and reference is None:
        return Problem(
            "SecretNotFound",
            "the Secret mail-push-<name>-passcrypt, which the operator made once, is gone or has lost its key "
            "passcrypt, and another one reads nothing of what is stored: put it back from your copy (the Secret "
            "mail-push-<name>-secrets still holds the value of pods that run), or name a new one as "
            "credentialStorage.passcryptSecretRef, with which all passwords have to be put again",
        )
    what = f"key {reference.key} of Secret {reference.name}" if reference is not None else "the Secret or key"
    return Problem("SecretNotFound", f"{what}, which {path} names, does not exist or is empty: create it")


def _unpermitted(path: str, reference: SecretKeyReference | None) -> Problem:
    what = f"Secret {reference.name}, which" if reference is not None else "the Secret that"
    return Problem(
        "SecretNotPermitted",
        f"{what} {path} names, is not for that: give it the label mailpush.dev/use={purpose_of(path)} (several "
        "purposes are joined by dots)",
    )


def _packages(spec: MailPushConfigSpec) -> Iterator[Problem]:
    states = [state for state in packages.effective_of(spec) if state.name in packages.PUSH_PACKAGES]
    for state in states:
        if state.conflict:
            yield Problem("PackageConflict", f"{state.name} is not in effect: {state.reason}")
    if any(state.enabled or state.conflict for state in states):
        return
    some = " or ".join(packages.SUPPORTED)
    if spec.packages.whitelist:
        text = f"packages.whitelist names no push package, and what it does not name is off: add {some} to it"
    else:
        text = f"no push package is enabled: set {some} to enabled in packages.status"
    yield Problem("NoPushPackage", text)


def _not_yet_supported(spec: MailPushConfigSpec, settings: Settings | None) -> Iterator[Problem]:
    for switched_on, field, key, advice in _switches(spec, settings):
        if switched_on:
            place = field if settings is None else site_facts(settings).place(field, key)
            yield Problem("NotYetSupported", f"{place} is not supported yet: {advice}")
    for name in sorted(packages.NOT_YET_SUPPORTED & packages.in_effect(packages.effective_of(spec))):
        yield Problem("NotYetSupported", f"{name} is not supported yet: set it to disabled in packages.status")


def _switches(spec: MailPushConfigSpec, settings: Settings | None) -> Iterator[tuple[bool, str, str, str]]:
    """What may be switched on and does not exist yet: whether it is, its field, its property, and what to do."""
    idle = settings.imapidle if settings else spec.mechanisms.imapidle
    primary = "set it to 0, the primary account"
    yield bool(idle.account_id), "mechanisms.imapidle.accountId", keys.IMAPIDLE_ACCOUNT, primary


def _mail_access(spec: MailPushConfigSpec) -> Iterator[Problem]:
    if spec.mail_access and spec.mail_access.servers:
        return
    missing = ["mailAccess.servers (at least one, with its host)"]
    values = ["mailPushConfig.spec.mailAccess.servers"]
    if spec.mail_access is None:
        missing.append(_SESSION_OR_GLOBAL)
        values.append("mailPushConfig.spec.mailAccess.passwordSource")
    yield Problem(
        "MailAccessMissing",
        f"listeners cannot reach the mailboxes: set {' and '.join(missing)}; as values of the chart these are "
        f"{' and '.join(values)}",
    )
