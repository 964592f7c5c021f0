"""A mailbox's server METADATA by doveadm, as IMAP has it by GETMETADATA and SETMETADATA (RFC 5464)."""

from typing import Any, Final

from mailpush.doveadm.client import Doveadm

_OF_THE_SERVER: Final[dict[str, Any]] = {"mailbox": "", "allowEmptyMailboxName": True}
"""Of no mailbox: without the second, doveadm refuses the empty name."""


async def get_metadata(doveadm: Doveadm, user: str, entry: str) -> str | None:
    """The value; None for an entry that is not set. Raises DoveadmError."""
    rows = await doveadm.ask("mailboxMetadataGet", user, **_OF_THE_SERVER, key=entry)
    value = rows[0].get("value") if rows else None
    return value if isinstance(value, str) and value else None


async def set_metadata(doveadm: Doveadm, user: str, entry: str, value: str | None) -> None:
    """Sets it, or takes it away. Raises DoveadmError."""
    if value is None:
        await doveadm.ask("mailboxMetadataUnset", user, **_OF_THE_SERVER, key=entry)
    else:
        await doveadm.ask("mailboxMetadataSet", user, **_OF_THE_SERVER, key=entry, value=value)
