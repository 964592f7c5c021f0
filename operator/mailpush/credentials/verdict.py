"""Whether the passcrypt is the one of a table that others write, from what its rows turned out to be."""

from collections.abc import Iterable
from enum import Enum
from typing import Final

from mailpush.credentials.forms import Kind

CANDIDATES: Final = 3
"""Rows that settle it: one legacy row of a block in 1,600,000 decrypts under a wrong passcrypt as well."""


class Verdict(Enum):
    MATCH = "match"
    MISMATCH = "mismatch"
    UNKNOWN = "unknown"


def settles(outcomes: Iterable[Kind]) -> Verdict:
    """What some rows say of the passcrypt. One that decrypts disproves a mismatch, three that do not make one.

    Rows of which no passcrypt could make anything say nothing. Fewer than three are no proof: a clear password of 64
    hexadecimal digits has the form of a row as well.
    """
    kinds = list(outcomes)
    if Kind.USABLE in kinds or Kind.TOO_LONG in kinds:
        return Verdict.MATCH
    return Verdict.MISMATCH if kinds.count(Kind.UNDECRYPTABLE) >= CANDIDATES else Verdict.UNKNOWN
