"""The names of notifications' targets, looked up in a share of threads of their own."""

from collections.abc import Iterable
from typing import Final

import httpcore

from mailpush.work.lookups import Lookups

LOOKUPS: Final = Lookups(8, kept=5.0, failed=1.0)
"""Of targets' names: they wait for no mail server's, and no other pod's waits for theirs."""


class OwnLookups(httpcore.AnyIOBackend):
    """Connects to the addresses that the share gives. The name for TLS stays that of the URL."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await LOOKUPS.addresses(host)
        except (OSError, ValueError) as error:
            raise httpcore.ConnectError(str(error)) from error
        failure = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                failure = error
        LOOKUPS.forget(host)
        raise failure
