"""The names of notifications' targets, looked up in a share of threads of their own."""

from typing import Final

from mailpush.http.lookups import LookedUp
from mailpush.work.lookups import Lookups

LOOKUPS: Final = Lookups(8, kept=5.0, failed=1.0)
"""Of targets' names: they wait for no mail server's, and no other pod's waits for theirs."""


class OwnLookups(LookedUp):
    """Connects to the addresses that the share gives."""

    def __init__(self) -> None:
        super().__init__(LOOKUPS)
