"""What fits into a store."""

from typing import Final

from mailpush.credentials.storage import Entry, UserKey

LONGEST: Final = 512
"""Characters of an encrypted password, as in OX's wide column."""
LARGEST_ID: Final = 2**31 - 1
LONGEST_NAME: Final = 64
LONGEST_NOTE: Final = 4096
"""Characters of a note."""


def check_entry(entry: Entry) -> Entry:
    """Raises ValueError, without the password, for what no store takes."""
    if not all(0 <= number <= LARGEST_ID for number in entry.key):
        raise ValueError(f"context and user are at most {LARGEST_ID}")
    if len(entry.password) > LONGEST or not entry.password.isascii() or "\0" in entry.password:
        raise ValueError(f"an encrypted password is ASCII and has at most {LONGEST} characters")
    if not all(0 <= time <= 2**52 for time in (entry.changed, entry.worked, entry.refused)):
        raise ValueError("times are whole seconds since 1970")
    return entry


def check_note(name: str, text: str | None) -> None:
    """Raises ValueError, without the text, for what no store takes."""
    if not 0 < len(name) <= LONGEST_NAME or not (name.isascii() and name.isprintable()):
        raise ValueError(f"the name of a note is ASCII and has at most {LONGEST_NAME} characters")
    if text is not None and (len(text) > LONGEST_NOTE or not text.isascii() or "\0" in text):
        raise ValueError(f"a note is ASCII and has at most {LONGEST_NOTE} characters")


def in_reach(key: UserKey) -> bool:
    """Whether a user of this key can be there."""
    return all(0 <= number <= LARGEST_ID for number in key)
