"""Which slot a push user belongs to (protocol P1): for ever the same, computed by everyone alike."""

import hashlib
from typing import Final

SLOTS: Final = 16_384
"""How many slots there are. It never changes: a user's slot would."""


def slot_of(context_id: int, user_id: int) -> int:
    """The slot, 0 to 16,383, of the push user `context_id`, `user_id`.

    P1: the first 8 bytes, big-endian, of SHA-256 of the ASCII text `<contextId>:<userId>`, modulo 16,384.
    """
    digest = hashlib.sha256(f"{context_id}:{user_id}".encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") % SLOTS
