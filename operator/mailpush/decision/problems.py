"""What keeps a whole MailPushConfig from working, for its conditions."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mailpush import packages
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.properties import keys
from mailpush.properties.secrets import purpose_of
from mailpush.properties.settings import Settings, allowed_somewhere

_SESSION_OR_GLOBAL = (
    'mailAccess.passwordSource ("global" with mailAccess.masterPasswordSecretRef, or "session" with '
    "mailAccess.userSecrets.enabled: true)"
)


class Problem(NamedTuple):
    """One thing that is wrong."""

    reason: str
    """A stable word in CamelCase for a condition."""
    message: str
    """What is the case and what to do."""


def config_problems(
    spec: MailPushConfigSpec, missing_secrets: Sequence[str] = (), unpermitted_secrets: Sequence[str] = ()
) -> tuple[Problem, ...]:
    """What keeps listeners from running, the gravest first: the reason of `Ready=False`. Empty where nothing does.

    Args:
        missing_secrets: paths of fields whose Secret or key does not exist (`ResolvedSecrets.missing`).
        unpermitted_secrets: paths of fields whose Secret is not marked for this use (`ResolvedSecrets.unpermitted`).
    """
    return (
        *_packages(spec),
        *_not_yet_supported(spec),
        *_mail_access(spec),
        *(
            Problem("SecretNotFound", f"the Secret or key that {path} names does not exist or is empty: create it")
            for path in missing_secrets
        ),
        *(
            Problem(
                "SecretNotPermitted",
                f"the Secret that {path} names is not for that: give it the label mailpush.dev/use={purpose_of(path)} "
                "(several purposes are joined by dots)",
            )
            for path in unpermitted_secrets
        ),
        *_switched_off(spec),
    )


def property_problems(spec: MailPushConfigSpec, settings: Settings) -> tuple[Problem, ...]:
    """What `properties` switches on or off that the fields do not: they are what is run by."""
    idle, dovecot = spec.mechanisms.imapidle, spec.mechanisms.dovecot
    doveadm = spec.mail_access is not None and spec.mail_access.doveadm.enabled
    switched_on = (
        (keys.CREDSTORAGE_ENABLED, settings.credential_storage.enabled, spec.credential_storage.enabled),
        (keys.DOVEADM_ENABLED, settings.doveadm.enabled, doveadm),
        (
            keys.DOVECOT_PREFER_DOVEADM,
            settings.dovecot.prefer_doveadm_for_metadata,
            dovecot.prefer_doveadm_for_metadata,
        ),
        (keys.IMAPIDLE_ACCOUNT, settings.imapidle.account_id, idle.account_id),
    )
    problems = [
        Problem("NotYetSupported", f"{key}, which properties sets, is not supported yet: take it out of properties")
        for key, by_properties, by_field in switched_on
        if by_properties and not by_field
    ]
    if not settings.allow_permanent_push and spec.allow_permanent_push:
        problems.append(
            Problem(
                "PermanentPushDisabled",
                f"properties sets {keys.ALLOW_PERMANENT_PUSH} to false: take it out to run permanent listeners",
            )
        )
    return tuple(problems)


def _packages(spec: MailPushConfigSpec) -> Iterator[Problem]:
    states = packages.effective_of(spec)
    for state in states:
        if state.conflict:
            yield Problem("PackageConflict", f"{state.name} is not in effect: {state.reason}")
    if not any(state.enabled or state.conflict for state in states if state.name in packages.PUSH_PACKAGES):
        names = ", ".join(packages.PUSH_PACKAGES)
        yield Problem("NoPushPackage", f"no push package is enabled: set one of {names} to enabled in packages.status")


def _not_yet_supported(spec: MailPushConfigSpec) -> Iterator[Problem]:
    access = spec.mail_access
    in_effect = packages.in_effect(packages.effective_of(spec))
    instead = "use mailAccess.userSecrets.enabled: true, or mailAccess.passwordSource: global"
    if spec.credential_storage.enabled:
        yield Problem(
            "NotYetSupported", f"credentialStorage.enabled is not supported yet: set it to false and {instead}"
        )
    if access and access.oauth.enabled:
        yield Problem(
            "NotYetSupported", f"mailAccess.oauth.enabled is not supported yet: set it to false and {instead}"
        )
    if access and access.doveadm.enabled:
        yield Problem(
            "NotYetSupported", f"mailAccess.doveadm.enabled is not supported yet: set it to false and {instead}"
        )
    if spec.mechanisms.dovecot.prefer_doveadm_for_metadata:
        yield Problem(
            "NotYetSupported",
            "mechanisms.dovecot.preferDoveadmForMetadata is not supported yet: set it to false, and users are "
            "registered by IMAP METADATA",
        )
    if spec.mechanisms.imapidle.account_id:
        yield Problem(
            "NotYetSupported", "mechanisms.imapidle.accountId other than 0, the primary account, is not supported yet"
        )
    for name in sorted(packages.NOT_YET_SUPPORTED & in_effect):
        yield Problem("NotYetSupported", f"{name} is not supported yet: set it to disabled in packages.status")


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


def _switched_off(spec: MailPushConfigSpec) -> Iterator[Problem]:
    overrides = {override.ordinal: override.allow_permanent_push for override in spec.listeners.pod_overrides}
    if not allowed_somewhere(spec.allow_permanent_push, overrides, spec.listeners.replicas):
        where = " in every pod, by listeners.podOverrides" if overrides else ""
        yield Problem(
            "PermanentPushDisabled", f"allowPermanentPush is false{where}: set it to true to run permanent listeners"
        )
    if spec.listeners.replicas == 0:
        yield Problem("ListenersScaledToZero", "listeners.replicas is 0: nothing listens until it is raised")
