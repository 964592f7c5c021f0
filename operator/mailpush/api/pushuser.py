"""PushUser: one user who is notified of new mail although none of the user's clients is connected."""

# ruff: noqa: RUF012 - pydantic copies a default that can change

from typing import Annotated, Final

from pydantic import Field
from pydantic.config import JsonDict

from mailpush.api.meta import (
    LIST_SET,
    ClientId,
    Condition,
    ConfigName,
    DnsLabel,
    LocalReference,
    Model,
    Name,
    StatusModel,
    list_map,
    rules,
)

# With format, because the API server estimates string(<integer>) as endless and refuses a rule that adds to it.
_IDS: Final = "[self.spec.configRef.name, self.spec.contextId, self.spec.userId]"
NAME_RULE: Final = f"self.metadata.name == '%s-%d-%d'.format({_IDS})"
NAME_MESSAGE: Final = f"'metadata.name must be %s-%d-%d (configRef.name, contextId, userId)'.format({_IDS})"

OxId = Annotated[int, Field(ge=1, le=2147483647)]


def _immutable(field: str) -> JsonDict:
    return rules(("self == oldSelf", f"{field} is immutable: delete this PushUser and create another one"))


class ConfigReference(Model):
    """A MailPushConfig of the same namespace."""

    name: ConfigName
    """Name of the MailPushConfig."""


class PushUserSpec(Model):
    """Who the user is, which clients are registered, and how to reach the mailbox."""

    config_ref: Annotated[ConfigReference, Field(json_schema_extra=_immutable("configRef"))]
    """The MailPushConfig of the same namespace that serves this user. Immutable."""
    context_id: Annotated[OxId, Field(json_schema_extra=_immutable("contextId"))]
    """The OX context's id. A site without OX uses 1. Immutable."""
    user_id: Annotated[OxId, Field(json_schema_extra=_immutable("userId"))]
    """The user's id within the context. Immutable."""
    clients: Annotated[list[ClientId], Field(max_length=64, json_schema_extra=LIST_SET)] = []
    """Ids of the registered clients, such as open-xchange-mobile-api-facade. Without one nothing is listened for."""
    login: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """The login name at the mail server. Taken where mailAccess.loginSource is login or name."""
    mail: Annotated[str, Field(min_length=3, max_length=512)] | None = None
    """The primary mail address. Taken as the login where mailAccess.loginSource is mail, or mailLocalPart, the part
    before the last @."""
    aliases: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=512)]], Field(max_length=128, json_schema_extra=LIST_SET)
    ] = []
    """Further mail addresses of the user; the mailnotify mechanism finds the user by them."""
    server: DnsLabel | None = None
    """Name of one of mailAccess.servers of the MailPushConfig. Default: the first of them."""
    credentials_secret_ref: LocalReference | None = None
    """A Secret with the key password and optionally login, for mailAccess.userSecrets."""
    suspend: bool = False
    """Set to true to stop listening for this user without losing the registration."""


class Registration(StatusModel):
    """An entry at a mail server that has it call mail-push for this user. No secret."""

    server: Name
    """Name of the server in mailAccess.servers."""
    address: Annotated[str, Field(max_length=300)] = ""
    """Host and port of the server when it was made: finds a server that was renamed since."""
    login: Annotated[str, Field(min_length=1, max_length=512)]
    """Whose mailbox has the entry."""
    value: Annotated[str, Field(max_length=128)]
    """What the server says with each mail: whom it was made for."""


class CredentialsStatus(StatusModel):
    """Where the owning pod has the user's credentials from, and when they last worked. No secret."""

    source: Annotated[str, Field(max_length=64)]
    """master: the master password. userSecret: the Secret of credentialsSecretRef. storage: the credential storage.
    oauth: a token. doveadm: none, since Dovecot's doveadm registers the user."""
    last_worked: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})] | None = None
    """When a mail server took them last, renewed once a day while they work."""


class PushUserStatus(StatusModel):
    """Accepted, duplicateOf and secretVersion are the operator's; the rest is written by the pod that owns the user."""

    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=list_map("type"))] = []
    """Accepted: the user may have a permanent listener. Listening: it learns of new mail. Ready: both.
    RegistrationLeft: a mailbox that is not the user's any more still has an entry."""
    pod: Name | None = None
    """The listener pod that owns the user."""
    mechanism: Annotated[str, Field(max_length=64)] | None = None
    """How it learns of new mail: dovecot, imapidle or mailnotify."""
    permanent: bool | None = None
    """Whether a permanent listener runs."""
    reason: Annotated[str, Field(max_length=1024)] | None = None
    """Why the user is or is not listened for, in one word: the reason of Ready."""
    owner_epoch: Annotated[int, Field(ge=0)] | None = None
    """Epoch of the shard map under which the pod owns the user."""
    duplicate_of: Annotated[str, Field(max_length=512)] | None = None
    """Namespace and name of an older PushUser that registers the same mailbox."""
    secret_version: Annotated[str, Field(max_length=64)] | None = None
    """The resourceVersion of the Secret of credentialsSecretRef as the operator saw it last, 0 where there is none.
    When it changes, the owning pod reads the Secret again."""
    credentials: CredentialsStatus | None = None
    """The credentials with which the owning pod listens."""
    registrations: Annotated[dict[str, Registration], Field(max_length=8)] = {}
    """Mailboxes with an entry for this user, by a hash of server and login. Written before the entry is made, and taken
    out when it is gone: more than one means that a former mailbox still has one."""
