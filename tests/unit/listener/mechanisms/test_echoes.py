"""Nothing that a server says brings a credential into a status or a log."""

import asyncio
import base64
import logging
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from mailpush.api.mechanisms import ImapIdleSettings
from mailpush.imap.client import ImapLogin, ImapServer
from mailpush.listener.mechanisms.base import Health, Mailbox, Mechanism, State
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.dovecot import DovecotMechanism
from mailpush.listener.mechanisms.imapidle import ImapIdleMechanism
from mailpush.listener.mechanisms.repeating import Surroundings
from tests.sites.imapserver import Waits
from tests.sites.waiting import until

# Also a password that is a number, since servers send numbers, and one that looks like a code.
PASSWORDS = ["S3CRET", 'q"u\\ote"d', "4711471147", "TOPS3CRET-CODE", "grüße"]
MECHANISMS: dict[str, Callable[[Surroundings], Mechanism]] = {
    "dovecot": DovecotMechanism,
    "imapidle": lambda around: ImapIdleMechanism(around, ImapIdleSettings()),
}


def forms(password: str) -> list[str]:
    """The password as it may be sent, and as somebody may repeat it."""
    raw = password.encode()
    return [
        password,
        password.lower(),
        password.upper(),
        password[::-1],
        password.replace("\\", "\\\\").replace('"', '\\"'),
        base64.b64encode(raw).decode(),
        base64.b64encode(b"\0alice\0" + raw).decode(),
        raw.hex(),
        "".join(f"%{byte:02X}" for byte in raw),
    ]


# `{echo}` is the password in one form; each is what a server says in place of its ordinary answer to a command.
SAID = {
    "greeting": "* BYE {echo}",
    "greeting with a code": "* BYE [{echo}] {echo}",
    "greeting that is none": "{echo}",
    "no login": "{tag} NO {echo}",
    "no login with a code": "{tag} NO [{echo}] {echo}",
    "alert to a login": "* NO [ALERT] {echo}\r\n{tag} NO [ALERT] {echo}",
    "bad login": "{tag} BAD {echo}",
    "bye to a login": "* BYE {echo}",
    "bye with a code": "* BYE [{echo} {echo}] {echo}",
    "continuations": "+ {echo}\r\n+ {echo}\r\n+ {echo}",
    "no response": "{echo}",
    "another tag": "{echo} OK {echo}",
    "untagged": "* OK {echo}\r\n* BAD [{echo}] {echo}\r\n* {echo} EXISTS\r\n* BYE {echo}",
    "a literal": "* METADATA {{{echo}}}\r\n* BYE",
    "data": '* {echo} {echo}\r\n* METADATA "" ({echo} {echo})\r\n* STATUS {echo} (UIDNEXT {echo})\r\n* BYE {echo}',
    "numbers": "* OK [UIDNEXT {echo}] {echo}\r\n* OK [UIDVALIDITY {echo}] x\r\n* BYE",
}
PLACES = ["greeting", "CAPABILITY", "AUTHENTICATE", "LOGIN", "GETMETADATA", "SETMETADATA", "EXAMINE", "IDLE", "FETCH"]


class Echo:
    """Answers well until `place`, and there says `said`."""

    def __init__(self, place: str, said: str, echo: str) -> None:
        self.place, self.said, self.echo = place, said, echo
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(self._say("*") if self.place == "greeting" else b"* OK ready\r\n")
            while line := await reader.readline():
                tag, _, rest = line.decode().strip().partition(" ")
                name = (rest.removeprefix("UID ").split(" ")[0]) or "?"
                if name == self.place:
                    writer.write(self._say(tag))
                elif name == "CAPABILITY":
                    way = "LOGINDISABLED AUTH=PLAIN SASL-IR" if self.place == "AUTHENTICATE" else ""
                    writer.write(f"* CAPABILITY IMAP4rev1 IDLE METADATA {way}\r\n{tag} OK\r\n".encode())
                elif name == "EXAMINE":
                    uidnext = 7 if self.place == "FETCH" else 1
                    writer.write(b"* 1 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT %d] x\r\n" % uidnext)
                    writer.write(f"{tag} OK\r\n".encode())
                else:
                    writer.write(f"{tag} OK\r\n".encode())
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _say(self, tag: str) -> bytes:
        return self.said.format(tag=tag, echo=self.echo).encode() + b"\r\n"


async def hear(mechanism: str, place: str, said: str, password: str, echo: str) -> list[Health]:
    """What one listener reports of a server that says `said` at `place`, until the listener waits."""
    reported: list[Health] = []
    waits = Waits()
    echoing = Echo(place, said, echo)
    serving = await asyncio.start_server(echoing.serve, "127.0.0.1", 0)
    async with serving:
        server = ImapServer("127.0.0.1", serving.sockets[0].getsockname()[1], "none")
        around = Surroundings(ConnectBudget(), timeout=0.05, sleep=waits.sleep)
        listener = MECHANISMS[mechanism](around).listener(
            Mailbox(1, 3, server, ImapLogin("alice", password)),
            lambda _, health: reported.append(health),
            lambda _: False,
        )
        await listener.start()
        await until(lambda: waits.asked or listener.health.state is State.LISTENING)
        await listener.stop()
    return reported


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_whatever_a_server_repeats_no_credential_gets_into_a_status_or_a_log(
    mechanism: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for number, place in enumerate(PLACES):
        for password in PASSWORDS:
            echoed = forms(password)
            with capture_logs() as logged:
                reported = await hear(mechanism, place, said, password, echoed[number % len(echoed)])
            shown = "\n".join(f"{health.reason} {health.message}" for health in reported)
            shown += f"{logged}{caplog.text}"
            assert "listener_fault" not in shown, shown
            assert not [form for form in forms(password) if form.lower() in shown.lower()], (place, shown)
