"""A small IMAP server in the test's own loop, to be told how to misbehave. The real one is in tests/services."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mailpush.imap.client import ImapLogin, ImapServer
from tests.sites.waiting import until


@dataclass
class Message:
    uid: int
    subject: str = "hello"
    flags: str = ""
    arrived: str = ""
    """Its INTERNALDATE, where it has one."""


@dataclass
class FakeImap:
    """One mailbox for everybody. `commands` are the names of all commands so far, `logins` the passwords tried."""

    port: int = 0
    password: str = "secret"
    capabilities: str = "IMAP4rev1 IDLE METADATA"
    refuse: frozenset[str] = frozenset()
    metadata: str | None = None
    uidvalidity: int = 1
    uidnext: int = 1
    messages: list[Message] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    login_code: str = "AUTHENTICATIONFAILED"
    break_fetch: bool = False
    grudges: dict[int, str] = field(default_factory=dict)
    """By UID what FETCH does in place of giving it: `NO`, `no header` (NO to that alone), `NIL` for the header, `BYE`,
    `no header, BYE`, `flood`."""
    fetched: list[tuple[int, ...]] = field(default_factory=list)
    """The UIDs of each FETCH so far."""
    says_uidnext: bool = True
    refuses_status: bool = False
    idle: str = ""
    """`ends at once`, `lies` (announces mail that is not there), or `floods` (has a new mail each time)."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _told: dict[asyncio.StreamWriter, int] = field(default_factory=dict)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _idling: set[asyncio.StreamWriter] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def address(self) -> ImapServer:
        return ImapServer("127.0.0.1", self.port, security="none")

    def login(self, password: str = "secret") -> ImapLogin:
        return ImapLogin("alice", password)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Ends it with every connection."""
        if self._server is not None:
            self._server.close()
            self.drop()
            self._server = None

    def drop(self) -> None:
        """Ends every connection, as a restart does."""
        for writer in self._writers:
            writer.close()
        self._idling.clear()

    def deliver(self, *messages: Message) -> None:
        self.put(*messages)
        self._changed.set()

    def put(self, *messages: Message) -> None:
        """As `deliver`, but those who idle are not told."""
        self.messages += messages
        self.uidnext = max(self.uidnext, *(message.uid + 1 for message in messages))

    async def idling(self) -> None:
        """Waits until somebody is in IDLE."""
        await until(lambda: self._idling)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            writer.write(b"* OK ready\r\n")
            while line := await reader.readline():
                tag, _, rest = line.decode().strip().partition(" ")
                name = rest.split(" ")[1] if rest.startswith("UID ") else rest.split(" ")[0]
                self.commands.append(name)
                if name == "EXAMINE":
                    self._told[writer] = len(self.messages)
                if name in self.refuse:
                    writer.write(f"{tag} NO not today\r\n".encode())
                elif name == "IDLE":
                    await self._idle(tag, reader, writer)
                else:
                    writer.write(self._answer(tag, name, rest).encode())
                if name == "LOGOUT" or self._hangs_up(name, rest):
                    break
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            self._told.pop(writer, None)
            writer.close()

    def _answer(self, tag: str, name: str, rest: str) -> str:
        data, ok = "", f"{tag} OK done\r\n"
        match name:
            case "CAPABILITY":
                data = f"* CAPABILITY {self.capabilities}\r\n"
            case "LOGIN":
                self.logins.append(rest.split('"')[3])
                if self.logins[-1] != self.password:
                    return f"{tag} NO [{self.login_code}] no\r\n"
            case "GETMETADATA":
                value = "NIL" if self.metadata is None else f"{{{len(self.metadata)}}}\r\n{self.metadata}"
                data = f'* METADATA "" (/private/vendor/vendor.dovecot/http-notify {value})\r\n'
            case "SETMETADATA":
                found = re.search(r' "(user=[^"]*)"\)$', rest)
                self.metadata = found[1] if found else None
            case "EXAMINE":
                data = f"* {len(self.messages)} EXISTS\r\n* OK [UIDVALIDITY {self.uidvalidity}] v\r\n"
                data += f"* OK [UIDNEXT {self.uidnext}] n\r\n" if self.says_uidnext else ""
            case "STATUS" if self.refuses_status:
                return f"{tag} NO not of an open folder\r\n"
            case "STATUS":
                validity = f" UIDVALIDITY {self.uidvalidity}" if "UIDVALIDITY" in rest else ""
                data = f"* STATUS INBOX (UIDNEXT {self.uidnext}{validity})\r\n"
            case "FETCH" if self._hangs_up(name, rest):
                return ""
            case "FETCH":
                return self._fetch(tag, rest)
            case "LOGOUT":
                data = "* BYE bye\r\n"
        return data + ok

    def _asked(self, rest: str) -> list[tuple[int, Message]]:
        last = self.messages[-1].uid if self.messages else 0
        uids = {uid for part in rest.split(" ")[2].split(",") for uid in _range(part, last)}
        return [(number, message) for number, message in enumerate(self.messages, 1) if message.uid in uids]

    def _hangs_up(self, name: str, rest: str) -> bool:
        if name != "FETCH":
            return False
        wanted = {"BYE"} | ({"no header, BYE"} if "HEADER" in rest else set())
        return self.break_fetch or any(self.grudges.get(message.uid) in wanted for _, message in self._asked(rest))

    def _fetch(self, tag: str, rest: str) -> str:
        asked = self._asked(rest)
        self.fetched.append(tuple(message.uid for _, message in asked))
        refused = {"NO", "no header"} if "HEADER" in rest else {"NO"}
        data = ""
        for number, message in asked:
            if self.grudges.get(message.uid) == "flood":
                return f"* {number} FETCH (UID {message.uid} BODY[TEXT] {{100000}}\r\n{'x' * 100_000})\r\n" * 100
            if self.grudges.get(message.uid) in refused:
                return f"{data}{tag} NO [SERVERBUG] something is wrong with a mail\r\n"
            data += _fetched(number, message, header="HEADER" in rest, nil=self.grudges.get(message.uid) == "NIL")
        return f"{data}{tag} OK done\r\n"

    async def _idle(self, tag: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.idle == "ends at once":
            writer.write(f"+ idling\r\n{tag} OK that was it\r\n".encode())
            return
        writer.write(b"+ idling\r\n")
        if self.idle == "floods":
            self.put(Message(self.uidnext))
            writer.write(f"* {len(self.messages)} EXISTS\r\n".encode())
        if self.idle == "lies":
            writer.write(f"* {len(self.messages) + 1} EXISTS\r\n".encode())
        self._idling.add(writer)
        told = self._told.get(writer, 0)
        self._changed.set()  # also what came since EXAMINE is announced
        done = asyncio.create_task(reader.readline())
        try:
            while not done.done():
                changed = asyncio.create_task(self._changed.wait())
                await asyncio.wait([done, changed], return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                self._changed.clear()
                if len(self.messages) != told:
                    told = self._told[writer] = len(self.messages)
                    writer.write(f"* {told} EXISTS\r\n".encode())
        finally:
            self._idling.discard(writer)
            done.cancel()
        writer.write(f"{tag} OK done\r\n".encode())


def _range(part: str, last: int) -> range:
    first, _, end = part.replace("*", str(last)).partition(":")
    return range(int(first), int(end or first) + 1)


def _fetched(number: int, message: Message, *, header: bool, nil: bool) -> str:
    items = f"UID {message.uid} FLAGS ({message.flags})"
    if message.arrived:
        items += f' INTERNALDATE "{message.arrived}"'
    if header:
        fields = f"From: Bob <bob@example.org>\r\nSubject: {message.subject}\r\n\r\n"
        items += " BODY[HEADER.FIELDS (FROM SUBJECT)]<0> " + ("NIL" if nil else f"{{{len(fields)}}}\r\n{fields}")
    return f"* {number} FETCH ({items})\r\n"


@asynccontextmanager
async def fake_imap() -> AsyncIterator[FakeImap]:
    server = FakeImap()
    await server.open()
    try:
        yield server
    finally:
        await server.close()


class Waits:
    """A sleep that ends when the test says so. `asked`: seconds of each wait so far, without those of none."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._over = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.asked.append(seconds)
            await self._over.acquire()

    def end(self) -> None:
        """Ends the wait that is on, or the next."""
        self._over.release()
