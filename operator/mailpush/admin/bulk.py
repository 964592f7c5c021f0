"""The import of many credentials: an entry a line, read and stored some hundred at a time, and told of meanwhile.

Told of are the lines that were not stored, and from time to time how far it has come; a client that reads nothing until
it has sent everything so has little to read.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog
from aiohttp import web

from mailpush.admin.credentials import Credentials, is_private, require_private, require_type, unavailable
from mailpush.admin.errors import AdminError
from mailpush.admin.passwords import LONGEST_LINE, EntryRefusedError, entry_of
from mailpush.admin.routes import CREDENTIALS, NDJSON
from mailpush.credentials.storage import StorageUnavailableError, UserKey
from mailpush.http.server import UnansweredError

BATCH: Final = 200
"""Entries that are stored at once."""
YIELD_EVERY: Final = 50
"""Lines, some milliseconds: mails that arrive meanwhile are not to wait for more."""
TELL_EVERY: Final = 1000
"""Lines."""
LINE_SECONDS: Final = 30.0
"""How long a sender may take for the next line, and for reading what it is told."""

BROKEN_OFF: Final = "The body broke off"

log = structlog.get_logger(__name__)


class Lines:
    """A stream's lines, whatever it is cut into. One of more than LONGEST_LINE bytes is None, and is not kept."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._too_long = False

    def take(self, data: bytes) -> Iterator[bytes | None]:
        """The lines that end in `data`."""
        *ended, rest = data.split(b"\n")
        for part in ended:
            self._add(part)
            yield self._end()
        self._add(rest)

    def last(self) -> Iterator[bytes | None]:
        """What the stream ends in, where that is no line break."""
        if self._rest or self._too_long:
            yield self._end()

    def _add(self, part: bytes) -> None:
        self._too_long = self._too_long or len(self._rest) + len(part) > LONGEST_LINE
        if self._too_long:
            self._rest.clear()
        else:
            self._rest += part

    def _end(self) -> bytes | None:
        line = None if self._too_long else bytes(self._rest)
        self._rest.clear()
        self._too_long = False
        return line


class ImportRoute:
    """`POST` of many entries.

    Args:
        private: whether passwords may come over a request's connection.
    """

    def __init__(self, credentials: Credentials, private: Callable[[web.Request], bool] = is_private) -> None:
        self._credentials = credentials
        self._private = private

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_post(CREDENTIALS, self._import)

    async def _import(self, request: web.Request) -> web.StreamResponse:
        require_private(self._private(request))
        require_type(request, NDJSON, "application/ndjson", "application/jsonl")
        running = _Import(request, self._credentials)
        try:
            return await running.run()
        finally:
            log.info("credentials_import", **running.totals)


class _Import:
    def __init__(self, request: web.Request, credentials: Credentials) -> None:
        self._request = request
        self._credentials = credentials
        self._answer: web.StreamResponse | None = None
        self._line = 0
        self._told = 0
        self._batch: dict[UserKey, tuple[int, str]] = {}
        """By user: where the entry stands, and its password."""
        self._refused: list[dict[str, Any]] = []
        self.totals = {"through": 0, "stored": 0, "unchanged": 0, "refused": 0}
        """`through`: the line up to which everything is done."""

    async def run(self) -> web.StreamResponse:
        try:
            await self._read()
        except (AdminError, StorageUnavailableError) as error:
            failed = unavailable(error) if isinstance(error, StorageUnavailableError) else error
            if self._answer is None and not self.totals["through"]:
                raise failed from None
            return await self._end(done=False, error=failed.sentence, retryAfter=failed.retry_after)
        return await self._end(done=True)

    async def _read(self) -> None:
        lines, loop, size = Lines(), asyncio.get_running_loop(), 0
        deadline = loop.time() + LINE_SECONDS
        while chunk := await self._next(deadline):
            before, size = self._line, size + len(chunk)
            for line in lines.take(chunk):
                await self._take(line)
            if self._line > before:
                await self._store()
                deadline = loop.time() + LINE_SECONDS
        if self._request.content_length not in {None, size}:
            raise AdminError(400, BROKEN_OFF)
        for line in lines.last():
            await self._take(line)
        await self._store()

    async def _next(self, deadline: float) -> bytes:
        """What comes next of the body; empty at its end. Raises AdminError where it does not come."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self._request.content.readany()
        except TimeoutError:
            raise AdminError(408, f"No line came within {LINE_SECONDS:g} seconds") from None
        except (web.RequestPayloadError, ConnectionError):
            raise AdminError(400, BROKEN_OFF) from None

    async def _take(self, line: bytes | None) -> None:
        self._line += 1
        if not self._line % YIELD_EVERY:
            await asyncio.sleep(0)
        if line is None:
            self._refuse(self._line, f"the line has more than {LONGEST_LINE} bytes")
        elif line.strip():
            try:
                key, password = entry_of(line)
            except EntryRefusedError as error:
                self._refuse(self._line, str(error))
            else:
                if key in self._batch:  # one after the other, so that the later one counts
                    await self._store(self._line - 1)
                self._batch[key] = self._line, password
        if len(self._batch) + len(self._refused) >= BATCH:
            await self._store()

    def _refuse(self, line: int, why: str) -> None:
        self._refused.append({"line": line, "error": why})

    async def _store(self, through: int | None = None) -> None:
        """What has come so far, or up to line `through`, is done with and told of."""
        passwords = {key: password for key, (_, password) in self._batch.items()}
        became = await self._credentials.put(passwords) if passwords else {}
        for key, one in became.items():
            if one.refusal:
                self._refuse(self._batch[key][0], one.refusal)
            else:
                self.totals["stored" if one.stored else "unchanged"] += 1
        self.totals["refused"] += len(self._refused)
        self.totals["through"] = self._line if through is None else through
        rows = sorted(self._refused, key=lambda row: int(row["line"]))
        self._batch, self._refused = {}, []
        if self.totals["through"] - self._told >= TELL_EVERY:
            self._told = self.totals["through"]
            rows.append(dict(self.totals))
        await self._tell(*rows)

    async def _end(self, **last: Any) -> web.StreamResponse:
        await self._tell({**self.totals, **{key: value for key, value in last.items() if value is not None}})
        assert self._answer is not None  # noqa: S101 - made by telling
        if not last["done"]:
            self._answer.force_close()
        return self._answer

    async def _tell(self, *rows: dict[str, Any]) -> None:
        """Raises UnansweredError where nobody reads it."""
        if not rows:
            return
        try:
            async with asyncio.timeout(LINE_SECONDS):
                if self._answer is None:
                    self._answer = web.StreamResponse(headers={"Content-Type": NDJSON})
                    await self._answer.prepare(self._request)
                await self._answer.write("".join(f"{json.dumps(row)}\n" for row in rows).encode())
        except (TimeoutError, ConnectionError):
            if self._request.transport is not None:
                self._request.transport.abort()  # closing would wait until it has read
            raise UnansweredError from None
