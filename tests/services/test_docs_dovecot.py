"""What the documentation says of Dovecot's configuration, in the Dovecot that it is for."""

from __future__ import annotations

import asyncio
import base64
import imaplib
import json
import re
import shlex
import smtplib
import socket
import string
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from dev.images import debian
from dev.processes import run
from dev.processes.errors import CommandError
from dev.programs import binaries
from dev.services import Dovecot, Received, WebhookReceiver
from dev.services.dovecot import ENTRY
from dev.services.releases import RELEASES, Version
from mailpush.imap.client import ImapLogin, ImapServer, connect
from mailpush.names import CALLBACK_PATH
from mailpush.notifications.callback import parse_callback
from mailpush.notifications.notification import NewMail
from tests.cluster.conftest import ROOT

TIMEOUT = 60.0
FENCED: Final = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OF_DOVECOT: Final = re.compile(
    r"^\s*(plugin|protocol|passdb|userdb|remote|local|push_notification|mail_attribute|service)\b[^{}\n]*\{$|"
    r"^\s*(imap_metadata|mail_plugins|push_notification_\w+|mail_attribute_dict) *=",
    re.MULTILINE,
)
PODS, OWN_ADDRESS = "127.0.0.9", "127.0.0.7"
LOGIN, PASSWORD = "dovecot", string.punctuation + ' %40 "ü"'
DOCS: Final = {
    path.relative_to(ROOT): path.read_text()
    for pattern in ("*.md", "docs/**/*.md", "charts/**/*.md", "charts/**/NOTES.txt", "examples/**/*", "dev/**/*.md")
    for path in ROOT.glob(pattern)
    if path.is_file()
}


def blocks(kind: str) -> list[str]:
    return [text for document in DOCS.values() for name, text in FENCED.findall(document) if name == kind]


def test_each_text_for_dovecot_says_for_which() -> None:
    unmarked = [
        (str(path), text)
        for path, document in DOCS.items()
        for name, text in FENCED.findall(document)
        if OF_DOVECOT.search(text) and not name.startswith("dovecot-2.")
    ]
    assert unmarked == []


def test_debians_own_configuration_takes_it_all(version: Version) -> None:
    root = RELEASES[version].root()
    own = (root / "etc/dovecot/dovecot.conf").read_text()
    assert "!include conf.d/*.conf" in own
    own = own.replace("!include conf.d/", "!include /etc/dovecot/conf.d/")
    with tempfile.TemporaryDirectory(dir=debian.SHARED) as folder:
        config = Path(folder) / "dovecot.conf"
        config.write_text("\n".join([own, *blocks(f"dovecot-{version}")]))
        read = run.quiet(*debian.inside(root, "doveconf", "-n", "-c", config))
        assert not re.search("warning|error|fatal", read.stderr, re.IGNORECASE), read.stderr
        plugins = run.quiet(*debian.inside(root, "doveconf", "-c", config, "-f", "protocol=lmtp", "mail_plugins"))
        assert {"notify", "push_notification"} <= set(re.findall(r"\w+", plugins.stdout))


# -- all of it in one Dovecot


def printed_login(version: Version, folder: Path) -> str:
    """What the documented command prints of the callback's Secret, for the driver's URL."""
    (command,) = (text for text in blocks("sh") if "urlquery" in text and ("%%" in text) == (version == "2.3"))
    for name, content in (("login", LOGIN), ("password", PASSWORD)):
        (folder / name).write_text(content)
    secret = f"create secret generic s --dry-run=client --from-file={folder}/login --from-file={folder}/password"
    asked = "kubectl -n mail get secret mail-push-main-callback"
    assert asked in command
    command = command.replace(asked, f"{shlex.quote(str(binaries.path('kubectl')))} {secret}")
    return subprocess.run(["sh", "-euc", command], check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True)
class Described:
    """A Dovecot with all that the documentation says, and what its two installations are told."""

    dovecot: Dovecot
    first: WebhookReceiver
    second: WebhookReceiver

    def login(self, user: str) -> ImapLogin:
        return ImapLogin("mailpush", "pw", authzid=user)

    @property
    def server(self) -> ImapServer:
        return ImapServer(self.dovecot.host, self.dovecot.imaps_port, "tls", ca_pem=self.dovecot.ca_file.read_text())

    async def register(self, user: str, value: str) -> None:
        async with connect(self.server, TIMEOUT) as client:
            await client.login(self.login(user))
            assert "METADATA" in await client.capabilities()
            await client.set_metadata(ENTRY, value.encode())


def address(receiver: WebhookReceiver) -> str:
    return receiver.url.removeprefix("http://").removesuffix("/hook")


def as_documented(version: Version, login: str, masters: Path, first: str, second: str) -> str:
    text = "\n".join(blocks(f"dovecot-{version}"))
    for written, here in (
        ("LOGIN:PASSWORD", login),
        ("mail-push-main.mail.svc:8009", first),
        ("mail-push-second.mail.svc:8009", second),
        ("/etc/dovecot/master-users", str(masters)),
        ("10.42.0.0/16", PODS),
        ("10.0.0.7", OWN_ADDRESS),
    ):
        assert written in text
        text = text.replace(written, here)
    return f"{text}\nlisten = 127.0.0.1, {OWN_ADDRESS}\n"


@pytest.fixture(scope="module")
def described(version: Version) -> Iterator[Described]:
    with (
        tempfile.TemporaryDirectory(dir=debian.SHARED) as name,
        WebhookReceiver.start() as first,
        WebhookReceiver.start() as second,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        masters = folder / "master-users"
        (line,) = [text for text in blocks("") if "userdb_imap_metadata" in text]
        masters.write_text(line.replace("{BLF-CRYPT}HASH", "{PLAIN}pw"))
        push = as_documented(version, printed_login(version, folder), masters, address(first), address(second))
        with Dovecot.launch(version=version, push=push) as dovecot:
            yield Described(dovecot, first, second)


@pytest.fixture
def user() -> str:
    return f"u{uuid.uuid4().hex[:12]}"


async def test_a_registered_users_mail_is_told_to_both_installations(described: Described, user: str) -> None:
    def mine(callback: Received) -> bool:
        return bool(json.loads(callback.body)["user"] == f"3@{context}")

    context = uuid.uuid4().int % 10**6 + 1
    await described.register(user, f"user=3@{context}")
    await asyncio.to_thread(described.dovecot.deliver, user, subject="hello")
    for receiver in (described.first, described.second):
        received = await asyncio.to_thread(receiver.wait, lambda callbacks: any(map(mine, callbacks)))
        (callback, *_) = filter(mine, received)
        mail = parse_callback(callback.body, 0.0)
        assert isinstance(mail, NewMail)
        assert (mail.context_id, mail.user_id, mail.subject) == (context, 3, "hello")
        assert callback.path == CALLBACK_PATH
        assert callback.headers["authorization"] == f"Basic {base64.b64encode(f'{LOGIN}:{PASSWORD}'.encode()).decode()}"


async def test_a_callback_that_hangs_is_tried_twice_and_the_mail_is_delivered(described: Described, user: str) -> None:
    """The documented seconds are Dovecot's to count: the delivery would take a minute without them, in 2.4."""
    await described.register(user, "user=4@1")
    described.first.clear()
    described.first.behave(hang=True)
    try:
        await asyncio.to_thread(described.dovecot.deliver, user, timeout=30)
    finally:
        described.first.behave()
    assert len(described.first.received) == 2
    with described.dovecot.imap(user) as session:
        assert session.select() == ("OK", [b"1"])


async def test_a_callback_that_is_cut_off_is_made_once_more(described: Described, user: str) -> None:
    """What the endpoint relies on where it has no room, or has not read a callback whole."""
    await described.register(user, "user=5@1")
    described.first.clear()
    described.first.behave(close=True)
    try:
        await asyncio.to_thread(described.dovecot.deliver, user, timeout=30)
    finally:
        described.first.behave()
    assert len(described.first.received) == 2
    with described.dovecot.imap(user) as session:
        assert session.select() == ("OK", [b"1"])


class From(imaplib.IMAP4):
    """A session from one loopback address to another."""

    def __init__(self, source: str, target: str, port: int) -> None:
        self._addresses = source, target
        super().__init__(target, port, timeout=30)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        source, target = self._addresses
        return socket.create_connection((target, self.port), timeout, source_address=(source, 0))


@pytest.mark.parametrize(
    ("source", "target", "offered"),
    [("127.0.0.1", "127.0.0.1", False), (PODS, "127.0.0.1", True), ("127.0.0.1", OWN_ADDRESS, True)],
    ids=["anybody", "the pods' network", "the address for pods"],
)
def test_metadata_is_for_mail_push_alone(
    described: Described, user: str, source: str, target: str, offered: bool
) -> None:
    with From(source, target, described.dovecot.imap_port) as session:
        session.login(user, described.dovecot.password)
        assert ("METADATA" in session.capability()[1][0].decode().split()) is offered


# -- what happens to who does not escape


def test_a_single_percent_sign_costs_2_3_the_mail() -> None:
    url = f"http://name:p%40w@127.0.0.1:9{CALLBACK_PATH}"
    push = RELEASES["2.3"].push([url], 2).replace("%%40", "%40")
    with (
        Dovecot.launch(version="2.3", push=push) as dovecot,
        pytest.raises((smtplib.SMTPException, OSError)),
    ):
        dovecot.deliver("anna")


def test_a_doubled_percent_sign_is_refused_by_2_4() -> None:
    url = f"http://name:p%%40w@127.0.0.1:9{CALLBACK_PATH}"
    push = RELEASES["2.4"].push([url], 2)
    with pytest.raises(CommandError, match="Expecting hex digit"):
        Dovecot.launch(version="2.4", push=push)


def test_a_driver_without_user_from_metadata_names_the_login(version: Version) -> None:
    """It calls only where the entry is there, whatever that says."""
    with WebhookReceiver.start() as receiver:
        push = RELEASES[version].push([receiver.url], 2)
        without = re.sub(
            r"user_from_metadata |^ *push_notification_ox_user_from_metadata = yes\n", "", push, flags=re.M
        )
        assert "user_from_metadata" in push
        assert "user_from_metadata" not in without
        with Dovecot.launch(version=version, push=without) as dovecot:
            dovecot.set_metadata("anna@example.org", "user=3@1")
            dovecot.deliver("anna@example.org")
            (callback,) = receiver.wait_for(1)
    assert json.loads(callback.body)["user"] == "anna@example.org"
    found = parse_callback(callback.body, 0.0, by_login={"anna@example.org": (1, 7)}.get)
    assert isinstance(found, NewMail)
    assert (found.context_id, found.user_id) == (1, 7)
