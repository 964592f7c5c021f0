"""How an IDLE and a FETCH come out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mailpush.imap.responses import Fetch


class Idled(Enum):
    """Why an IDLE ended."""

    GROWN = "the mailbox has got messages"
    ENDED = "the server ended it"
    QUIET = "the time is up"


@dataclass(frozen=True, slots=True)
class Fetched:
    """Messages in order of UID, without those that are not there. `refused`: the server may have kept some back."""

    messages: list[Fetch]
    refused: bool
