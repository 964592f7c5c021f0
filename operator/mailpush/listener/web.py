"""A small HTTP server in the event loop: what the callback, internal and health ports have in common."""

from aiohttp import web

KEEP_ALIVE_SECONDS = 3600.0
"""Long: Dovecot keeps a connection per LMTP process, and a request that meets our closing one costs the mail 0.1 s."""


class WebServer:
    """Serves `app` from `start` to `close`."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._runner: web.AppRunner | None = None
        self.port = 0
        """Where it listens, once started."""

    async def start(self, host: str, port: int) -> int:
        """Listens; port 0 takes any that is free. Gives the port.

        Raises:
            OSError: the address cannot be had.
        """
        runner = web.AppRunner(
            self._app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            shutdown_timeout=1.0,
            lingering_time=1.0,
        )
        await runner.setup()
        site = web.TCPSite(runner, host, port, backlog=1024)
        try:
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self.port = runner.addresses[0][1]
        return self.port

    async def close(self) -> None:
        """Ends it; requests that are under way have a second."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
