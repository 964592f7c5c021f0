"""The checks that ask with which password, or token, a listener logs in for a user."""

from types import MappingProxyType
from typing import Final

from mailpush.decision.facts import SiteFacts, UserFacts
from mailpush.decision.mechanisms import may_use_doveadm, needs_no_password
from mailpush.decision.refusal import Refusal
from mailpush.properties import keys

NOT_KNOWN_NOW: Final = frozenset({"CredentialStorageUnavailable", "PasscryptMismatch"})
"""Reasons with which a password may well be there: it is waited for."""


def password_available(user: UserFacts, site: SiteFacts) -> Refusal | str:
    """Is there a password, the master password or the user's own, or does doveadm do without?"""
    if needs_no_password(site):
        return "no password is needed: doveadm registers the user at Dovecot (preferDoveadmForMetadata)"
    found = _password(user, site)
    if isinstance(found, Refusal) and _does_without(found, site):
        return f"there is no password ({found.reason}), so doveadm registers the user at Dovecot"
    return found


def by_doveadm_alone(user: UserFacts, site: SiteFacts) -> bool:
    """Whether nothing but a registration by doveadm is possible for the user."""
    if needs_no_password(site):
        return True
    found = _password(user, site)
    return isinstance(found, Refusal) and _does_without(found, site)


def _does_without(refusal: Refusal, site: SiteFacts) -> bool:
    """Whether doveadm takes the place of the password that is not there, as in OX (PUSH-0005, PUSH-0006, no token)."""
    return may_use_doveadm(site) and (site.prefer_doveadm or refusal.reason not in NOT_KNOWN_NOW)


def _password(user: UserFacts, site: SiteFacts) -> Refusal | str:
    if site.password_source == "global":  # noqa: S105 - OX's word
        return _master_password(site)
    if uses_secret(user, site):
        return _password_in_secret(user)
    if site.credential_storage and (site.oauth is False or _stored_state(user) != "missing"):
        return _stored_password(user, site)
    if site.oauth:
        return _access_token(user)
    if site.user_secrets:
        return Refusal("PasswordMissing", "the user has no password: set spec.credentialsSecretRef", "PUSH-0006")
    return _no_source_of_passwords(site)


def password_source_usable(site: SiteFacts) -> Refusal | str:
    """Is there a place from which passwords are taken, whoever's, or are none needed?"""
    if may_use_doveadm(site):
        return "doveadm registers users whose password is not known"
    if site.password_source == "global":  # noqa: S105 - OX's word
        return _master_password(site)
    sources = [
        *(["users' own Secrets"] if site.user_secrets else []),
        *(["the credential storage"] if site.credential_storage else []),
        *(["access tokens"] if site.oauth else []),
    ]
    return f"sources: {', '.join(sources)}" if sources else _no_source_of_passwords(site)


def uses_secret(user: UserFacts, site: SiteFacts) -> bool:
    return site.user_secrets and user.secret_name is not None


def _no_source_of_passwords(site: SiteFacts) -> Refusal:
    place = site.place("mailAccess.passwordSource", keys.PASSWORD_SOURCE)
    return Refusal(
        "PasswordMissing",
        f"{place} is session and there is nowhere to take a user's password from: set one of "
        f"{site.place('credentialStorage.enabled', keys.CREDSTORAGE_ENABLED)}, "
        f"{site.place('mailAccess.userSecrets.enabled', keys.USER_SECRETS)}, mailAccess.oauth.enabled and "
        f"{site.place('mailAccess.doveadm.enabled', keys.DOVEADM_ENABLED)} to true, or {place} to global",
        "PUSH-0006",
    )


def _master_password(site: SiteFacts) -> Refusal | str:
    if site.has_master_password:
        return "the master password is set"
    return Refusal(
        "MasterPasswordMissing",
        f"{site.place('mailAccess.passwordSource', keys.PASSWORD_SOURCE)} is global, but there is no master password: "
        "see that mailAccess.masterPasswordSecretRef names a Secret that is there and may be used",
        "PUSH-0005",
    )


def _password_in_secret(user: UserFacts) -> Refusal | str:
    if user.secret is None or not user.secret.found:
        return Refusal("PasswordMissing", f"Secret {user.secret_name} does not exist: create it", "PUSH-0006")
    if not user.secret.has_password:
        return Refusal("PasswordMissing", f"Secret {user.secret_name} has no key password: add it", "PUSH-0006")
    return f"the password stands in Secret {user.secret_name}"


def _stored_state(user: UserFacts) -> str | None:
    return user.stored.state if user.stored is not None else None


_PUT: Final = "put the password with kubectl mailpush credentials put, or by the login hook"
_STORED: Final = MappingProxyType(
    {
        "missing": ("CredentialsMissing", f"the credential storage has no password of the user: {_PUT}", "PUSH-0006"),
        "clearText": (
            "ClearTextCredential",
            f"what the credential storage has of the user is not encrypted, and is never sent to a server: {_PUT}",
            "PUSH-0006",
        ),
        "damaged": ("CredentialDamaged", f"the user's entry in the credential storage is damaged: {_PUT}", "PUSH-0006"),
        "tooLong": (
            "CredentialTooLong",
            f"the user's entry was cut, as its column is too narrow for the password: {_PUT}",
            "PUSH-0006",
        ),
        "undecryptable": (
            "CredentialUndecryptable",
            f"the user's entry in the credential storage was encrypted with another passcrypt: {_PUT}",
            "PUSH-0006",
        ),
        "mismatch": (
            "PasscryptMismatch",
            "the credential storage is written with another passcrypt than this one: put the right one into the Secret "
            "that credentialStorage.passcryptSecretRef names; no login is tried and nothing is deleted",
            "PUSH-0006",
        ),
        "unavailable": (
            "CredentialStorageUnavailable",
            "the credential storage does not answer, so the user's listener starts once it does",
            None,
        ),
    }
)
"""By the state of an entry: what becomes of its user."""


def _stored_password(user: UserFacts, site: SiteFacts) -> Refusal | str:
    state = _stored_state(user)
    if state is None:
        return "the listener takes the password from the credential storage"
    if state in _STORED:
        return Refusal(*_STORED[state])
    return "the password stands in the credential storage"


def _access_token(user: UserFacts) -> Refusal | str:
    if user.token is None:
        return "the listener logs in by an access token"
    if user.token.found:
        return "there is an access token"
    why = f": {user.token.why}" if user.token.why else ""
    return Refusal("TokenMissing", f"there is no access token to log in with{why}; see mailAccess.oauth", "PUSH-0006")
