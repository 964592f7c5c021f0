"""Leadership in several namespaces: a Lease in each, so that no two operators serve one, whatever their releases."""

import asyncio
from collections.abc import Sequence

from mailpush.controller.election import Election


class Elections:
    """One candidate in several elections: it leads once it has won all of them, and no more once it has lost one.

    Args:
        elections: in the order of their namespaces' names. All candidates take the Leases in this order, so that of two
            operators that share some namespaces one gets on.
    """

    def __init__(self, elections: Sequence[Election]) -> None:
        self._elections = tuple(elections)
        self._holding: list[asyncio.Task[None]] = []

    async def lead(self) -> None:
        """Waits until this process leads everywhere.

        Raises:
            LeadershipLostError: a Lease was lost while another was waited for.
        """
        try:
            for election in self._elections:
                await self._win(election)
                self._holding.append(asyncio.create_task(election.hold()))
        except BaseException:
            self._let_go()
            raise

    async def hold(self) -> None:
        """Runs until cancelled.

        Raises:
            LeadershipLostError: a Lease was lost.
        """
        try:
            await asyncio.gather(*self._holding)
        finally:
            self._let_go()

    async def release(self) -> None:
        """Leaves the Leases empty."""
        for election in self._elections:
            await election.release()

    async def _win(self, election: Election) -> None:
        leading = asyncio.create_task(election.lead())
        try:
            await asyncio.wait([leading, *self._holding], return_when=asyncio.FIRST_COMPLETED)
            for held in self._holding:
                if held.done():
                    held.result()
            leading.result()
        finally:
            leading.cancel()

    def _let_go(self) -> None:
        for task in self._holding:
            task.cancel()
        self._holding.clear()
