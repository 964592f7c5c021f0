"""The checks of the execution flow, one function each; what they ask stands in the first line of their docstrings.

Codes `PUSH-00xx` are OX's.
"""

from collections.abc import Callable
from typing import Final

from mailpush.decision.facts import SiteFacts, UserFacts
from mailpush.decision.logins import LOGIN_FIELDS, login_by
from mailpush.decision.mechanisms import DOVECOT, needs_no_password, supporting, usable_mechanisms
from mailpush.decision.passwords import uses_secret
from mailpush.decision.refusal import Refusal
from mailpush.packages import MECHANISMS, NOT_YET_SUPPORTED, SUPPORTED
from mailpush.properties import keys

POD_EXCLUDED: Final = "PodExcluded"
DUPLICATE_LOGIN: Final = "DuplicateLogin"
REASONS: Final = frozenset(
    {
        "PermanentPushDisabled",
        "NoPushPackage",
        "PermanentNotSupported",
        "NotRegistered",
        "ClientNotAllowed",
        "NotAssigned",
        "AssignedElsewhere",
        "PodExcluded",
        "Suspended",
        "MechanismDisabled",
        "MailAccessMissing",
        "ServerUnknown",
        "LoginMissing",
        "DuplicateLogin",
        "MasterPasswordMissing",
        "CredentialsMissing",
        "ClearTextCredential",
        "CredentialDamaged",
        "CredentialTooLong",
        "CredentialUndecryptable",
        "PasscryptMismatch",
        "CredentialStorageUnavailable",
        "TokenMissing",
        "PasswordMissing",
        "SecretNotPermitted",
        "NotYetSupported",
    }
)
"""Every reason of a refusal."""


Check = Callable[[UserFacts, SiteFacts], Refusal | str]
"""Refuses, or says in a sentence why it passes. The first line of its docstring is the question that it asks."""


def permanent_push_allowed(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Does allowPermanentPush let any pod run permanent listeners?"""
    place = site.place("allowPermanentPush", keys.ALLOW_PERMANENT_PUSH)
    if site.allow_permanent_push:
        return f"{place} is true"
    where = " in every pod, by listeners.podOverrides" if site.pod_overrides else ""
    return Refusal("PermanentPushDisabled", f"{place} is false{where}: set it to true to run permanent listeners")


def package_enabled(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Is a push package enabled?"""
    enabled = [package for package in MECHANISMS if package in site.packages]
    if not enabled:
        return Refusal(
            "NoPushPackage",
            f"no push package is in effect: enable {' or '.join(SUPPORTED)} in packages.status; what keeps one that is "
            "enabled from it stands in status.packages of the MailPushConfig",
        )
    if set(enabled) <= NOT_YET_SUPPORTED:
        return Refusal("NotYetSupported", f"{', '.join(enabled)} is not supported yet: enable another push package")
    return f"enabled: {', '.join(enabled)}"


def package_supports_permanent(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Does an enabled package support permanent listeners?"""
    if found := supporting(site):
        return f"permanent listeners are supported by {', '.join(found)}"
    place = site.place("mechanisms.imapidle.supportsPermanentListeners", keys.IMAPIDLE_PERMANENT)
    return Refusal(
        "PermanentNotSupported",
        f"open-xchange-push-imapidle is not allowed to run permanent listeners: set {place} to true, or enable "
        "open-xchange-push-dovecot",
        "PUSH-0009",
    )


def client_registered(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Is a client of the user registered?"""
    if user.clients:
        return f"registered clients: {', '.join(user.clients)}"
    return Refusal("NotRegistered", "no client is registered: add its id to spec.clients", "PUSH-0008")


def client_allowed(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Does allowedClients take one of the registered clients?"""
    allowed = [client for client in user.clients if site.allowed_clients.match(client)]
    if allowed:
        return f"allowed clients: {', '.join(allowed)}"
    return Refusal(
        "ClientNotAllowed",
        f"none of the registered clients {', '.join(user.clients)} matches allowedClients "
        f"({site.allowed_clients.source}); add a pattern or register an allowed client",
    )


def user_active(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Is the user active, that is, not suspended?"""
    if not user.suspended:
        return "the user is not suspended"
    return Refusal("Suspended", "the user is suspended: set spec.suspend to false to listen again")


def mechanism_enabled(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Is a mechanism switched on?"""
    if enabled := usable_mechanisms(site):
        return f"enabled: {', '.join(enabled)}"
    switches = " or ".join(
        site.place(f"mechanisms.{mechanism}.enabled", f"com.openexchange.push.{mechanism}.enabled")
        for mechanism in supporting(site)
    )
    return Refusal("MechanismDisabled", f"every mechanism is switched off: set {switches} to true")


def mail_access_configured(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Does the MailPushConfig name an IMAP server?"""
    if site.mail_access and site.servers:
        return f"IMAP servers: {', '.join(site.servers)}"
    return Refusal("MailAccessMissing", "the MailPushConfig names no IMAP server: set mailAccess.servers")


def server_known(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Is the user's IMAP server one of them?"""
    if not site.server_per_user:
        return f"server {site.servers[0]}, everybody's (mailServerSource is global)"
    if user.server is None:
        return f"server {site.servers[0]}, the default"
    if user.server in site.servers:
        return f"server {user.server}"
    return Refusal(
        "ServerUnknown",
        f'spec.server is "{user.server}", but mailAccess.servers has only {", ".join(site.servers)}',
    )


def secret_permitted(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """May the user's Secret be used?"""
    if not uses_secret(user, site):
        return "no Secret of the user is used"
    if needs_no_password(site):
        return "no Secret of the user is needed"
    if user.secret is None or not user.secret.found or user.secret.permitted:
        return f"Secret {user.secret_name} is not refused"
    return Refusal(
        "SecretNotPermitted",
        f"Secret {user.secret_name} is not for this PushUser: give it the label mailpush.dev/use=user-password, and "
        "the PushUser's name in its annotation mailpush.dev/push-users (or as its own name)",
    )


def login_known(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Is the user's login known?"""
    if uses_secret(user, site) and user.secret is not None and user.secret.has_login:
        return f"the login stands in Secret {user.secret_name}"
    needed = f"spec.{LOGIN_FIELDS[site.login_source]}"
    if login_by(site.login_source, user.login, user.mail):
        return f"the login is the user's {needed}, by loginSource {site.login_source}"
    place = site.place("mailAccess.loginSource", keys.LOGIN_SOURCE)
    proxy = "; authProxyDelimiter is set, which needs a login as well" if site.auth_proxy else ""
    return Refusal(
        "LoginMissing",
        f"{place} is {site.login_source}, but the user has no {needed} that gives one: set it{proxy}",
        "PUSH-0007",
    )


def assigned(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Has the balancer given the user to a pod, and to this one where a pod asks?"""
    place = user.placement
    if place is None:
        return "the shard map says which pod has the user"
    if place.owner is None:
        return Refusal(
            "NotAssigned",
            f"slot {place.slot} has no owner at the moment: see the conditions of the MailPushConfig, and whether "
            "listener pods run",
        )
    if place.here is not None and place.here != place.owner:
        return Refusal("AssignedElsewhere", f"slot {place.slot} is {place.owner}'s, which listens for the user")
    return f"slot {place.slot} is {place.owner}'s"


def mailbox_free(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Is there no older PushUser that registers the same mailbox?"""
    if user.elder is None or DOVECOT not in usable_mechanisms(site):
        return "nobody else registers the mailbox"
    return Refusal(
        DUPLICATE_LOGIN,
        f"PushUser {user.elder} is older and has the same login at the same server, and a mailbox calls for one user "
        "only: give one of them another login, or delete one",
    )


def pod_allowed(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Does allowPermanentPush let that pod run permanent listeners?"""
    place = user.placement
    if place is None or place.owner is None:
        return "the balancer gives users only to pods that may run permanent listeners"
    if place.allowed:
        return f"{place.owner} may run permanent listeners"
    return Refusal(
        POD_EXCLUDED,
        f"allowPermanentPush is false for {place.owner} (listeners.podOverrides): its users move to other pods as soon "
        "as one can take them",
    )
