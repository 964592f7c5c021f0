"""Names that HTTP clients connect to, looked up in a share of threads of their own."""

from collections.abc import Iterable

import httpcore

from mailpush.work.lookups import Lookups


class LookedUp(httpcore.AnyIOBackend):
    """Connects to the addresses that `share` gives. The name for TLS stays that of the URL."""

    def __init__(self, share: Lookups) -> None:
        super().__init__()
        self._share = share

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await self._share.addresses(host)
        except (OSError, ValueError) as error:
            raise httpcore.ConnectError(str(error)) from error
        failure = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                failure = error
        self._share.forget(host)
        raise failure
