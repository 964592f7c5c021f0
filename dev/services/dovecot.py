"""A real Dovecot from Debian's packages, private to one test, on free loopback ports."""

import email.message
import email.utils
import imaplib
import os
import secrets
import smtplib
import socket
import string
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from dev.cluster import pki
from dev.images import debian
from dev.processes import run
from dev.processes.errors import DevError
from dev.processes.group import Group, OfGroup, free_port
from dev.services.oauth import OAuth
from dev.services.releases import RELEASES, Version

ENTRY = "/private/vendor/vendor.dovecot/http-notify"

_HOST = "127.0.0.1"
_UID = 5000  # owns the mail; need not have a name


class Dovecot(OfGroup):
    """LMTP, IMAP, IMAPS, METADATA, doveadm's HTTP API and the OX push driver, for any user name.

    Every user's password is `password`; `master_user` may log in as anybody with `master_password`.
    `ca_file` is the authority of the certificate of `127.0.0.1` and `localhost`. Mail survives `stop`.
    """

    host = _HOST
    master_user = "master1"

    def __init__(
        self,
        group: Group,
        callbacks: Sequence[str],
        *,
        version: Version,
        hibernate: bool,
        patience: float,
        push: str | None,
        failure_delay: float,
        oauth: OAuth | None,
        sessions: int,
    ) -> None:
        super().__init__(group)
        self.version = version
        self._release = RELEASES[version]
        self._root = self._release.root()
        self._callbacks = tuple(callbacks)
        self._hibernate = hibernate
        self._patience = patience
        self._push = push
        self._failure_delay = failure_delay
        self._changed: tuple[str, str] | None = None
        self._oauth = oauth
        self._sessions = sessions
        self.password = "secret"
        self.master_password = "masterpw"
        self.api_key = secrets.token_hex(16)
        self.lmtp_port, self.imap_port, self.imaps_port, self.doveadm_port = (free_port() for _ in range(4))
        self.config = group.folder / "dovecot.conf"
        self.ca_file = group.folder / "certs" / "ca.pem"

    @classmethod
    def launch(
        cls,
        callbacks: Sequence[str] = (),
        *,
        version: Version = "2.3",
        hibernate: bool = False,
        patience: float = 2,
        push: str | None = None,
        failure_delay: float = 0,
        oauth: OAuth | None = None,
        sessions: int = 1,
    ) -> Self:
        """Starts one that reports new mail to each of the URLs `callbacks` (`http://user:password@host:port/path`).

        It waits for each `patience` seconds, and once more as long. `push` replaces all of its settings that have to do
        with METADATA and callbacks. A refused login is answered after `failure_delay` seconds; Dovecot's default is 2,
        and 0 switches its penalty off, too. `oauth`: it takes access tokens beside passwords. An imap process serves
        `sessions` one after another: to start one takes ten times as long as to log in.

        Raises:
            DevError: no Debian to be had, not root, or with Dovecot's own log where it does not start.
        """
        if os.geteuid() != 0:
            raise DevError("the tests' Dovecot drops its rights per service, so it needs root: run these tests as root")
        # Its services run as several users: the folder and what is above it must be searchable for all of them.
        group = Group("mail-push-dovecot", below=debian.SHARED, mode=0o755)
        try:
            dovecot = cls(
                group,
                callbacks,
                version=version,
                hibernate=hibernate,
                patience=patience,
                push=push,
                failure_delay=failure_delay,
                oauth=oauth,
                sessions=sessions,
            )
            dovecot._prepare()
            dovecot.start()
        except BaseException:
            group.close()
            raise
        return dovecot

    @property
    def doveadm_url(self) -> str:
        return f"http://{_HOST}:{self.doveadm_port}/doveadm/v1"

    def start(self) -> None:
        """Starts it (again) on the same ports, and waits until it takes connections."""
        self._write_config()
        self._group.start("dovecot", *debian.inside(self._root, "/usr/sbin/dovecot", "-F", "-c", self.config))
        self._group.wait(self._listens, "Dovecot listens", "dovecot")

    def stop(self) -> None:
        """Ends it with every session; what was delivered stays."""
        self._group.stop("dovecot")

    def set_callbacks(self, *callbacks: str) -> None:
        """Changes the callback URLs: restarts it, so sessions end."""
        self._callbacks = callbacks
        self.stop()
        self.start()

    def change_password(self, logins: str, password: str) -> None:
        """Gives the users whose login fits `logins` (`*` and `?`) another password: restarts it, so sessions end."""
        self._changed = (logins, password)
        self.stop()
        self.start()

    def deliver(
        self,
        *users: str,
        subject: str = "hello",
        body: str = "Body line one.",
        sender: str = "Alice <alice@example.org>",
        timeout: float = 30,
    ) -> None:
        """Delivers one mail to each of `users` by LMTP in one transaction; returns when Dovecot has answered for all.

        Raises:
            smtplib.SMTPException: refused.
        """
        message = email.message.EmailMessage()
        message["From"] = sender
        message["Subject"] = subject
        message["Date"] = email.utils.localtime()
        message["Message-ID"] = email.utils.make_msgid(domain="example.org")
        message.set_content(body)
        self.deliver_raw(*users, content=message.as_bytes(), timeout=timeout)

    def deliver_raw(self, *users: str, content: bytes, timeout: float = 30) -> None:
        """As `deliver`, a message as it is on the wire."""
        with smtplib.LMTP(_HOST, self.lmtp_port, local_hostname="localhost", timeout=timeout) as client:
            client.ehlo_or_helo_if_needed()
            client.mail("alice@example.org")
            for user in users:
                _accepted(client.rcpt(user))
            _accepted(client.data(content))
            for _ in users[1:]:  # LMTP answers once a recipient; smtplib reads the first answer only
                _accepted(client.getreply())

    def metadata(self, user: str, entry: str = ENTRY) -> str | None:
        """The user's server METADATA entry, by default the registration for push; None when unset."""
        done = self.doveadm("mailbox", "metadata", "get", "-u", user, "-s", "", entry, check=False)
        return done.stdout.strip() or None

    def set_metadata(self, user: str, value: str | None, entry: str = ENTRY) -> None:
        """Sets the entry (`user=3@1` registers), or with None takes it away."""
        verb = ("unset", "-u", user, "-s", "", entry) if value is None else ("set", "-u", user, "-s", "", entry, value)
        self.doveadm("mailbox", "metadata", *verb)

    def doveadm(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """doveadm on this instance."""
        return run.quiet(*debian.inside(self._root, "doveadm", "-c", self.config, *args), check=check)

    def imap(self, user: str, *, master: bool = False) -> imaplib.IMAP4:
        """A session that is logged in, in the clear; the caller logs out."""
        session = imaplib.IMAP4(_HOST, self.imap_port, timeout=30)
        if master:
            session.login(f"{user}*{self.master_user}", self.master_password)
        else:
            session.login(user, self.password)
        return session

    def log(self, since: int = 0) -> str:
        """All that it logged so far, from this byte on."""
        return self._group.read_log("dovecot", since)

    def log_size(self) -> int:
        """Bytes that it logged so far."""
        return self._group.log_size("dovecot")

    def _prepare(self) -> None:
        base = self._group.folder
        for name in ("home", "mail"):
            (base / name).mkdir()
            os.chown(base / name, _UID, _UID)
        (base / "certs").mkdir()
        authority = pki.Authority.new("mail-push test mail server")
        pair = authority.issue("localhost", names=(_HOST, "localhost"))
        self.ca_file.write_bytes(authority.pair.certificate)
        (base / "certs" / "cert.pem").write_bytes(pair.certificate)
        key = base / "certs" / "key.pem"
        key.touch(mode=0o600)
        key.write_bytes(pair.key)
        masters = base / "master-users"
        masters.touch(mode=0o640)
        masters.write_text(f"{self.master_user}:{{PLAIN}}{self.master_password}\n")
        os.chown(masters, 0, self._gid("dovecot"))

    def _gid(self, group: str) -> int:
        """Of the Dovecot's own Debian."""
        entries = (line.split(":") for line in (self._root / "etc" / "group").read_text().splitlines())
        return next(int(fields[2]) for fields in entries if fields[0] == group)

    def _write_config(self) -> None:
        text = string.Template(self._release.template).substitute(
            base=self._group.folder,
            instance=self._group.folder.name,
            uid=_UID,
            password=self.password,
            api_key=self.api_key,
            lmtp_port=self.lmtp_port,
            imap_port=self.imap_port,
            imaps_port=self.imaps_port,
            doveadm_port=self.doveadm_port,
            failure_delay=f"{self._failure_delay:.0f}",
            changed=self._release.changed(*self._changed) if self._changed else "",
            hibernate="imap_hibernate_timeout = 2s" if self._hibernate else "",
            push=self._push or self._release.push(self._callbacks, self._patience),
            oauth=self._write_oauth(),
            sessions=self._sessions,
        )
        self.config.touch(mode=0o600)
        self.config.write_text(text)

    def _write_oauth(self) -> str:
        """The settings of dovecot.conf for it, whose files are written."""
        if self._oauth is None:
            return ""
        base, group = self._group.folder, self._gid("dovecot")
        main, own = self._oauth.settings(self.version, base)
        files = {Path("keys", key): text for key, text in self._oauth.keys().items()} | {Path("oauth2.conf"): own}
        for name, content in files.items():
            path = base / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o640)
            path.write_text(content)
            os.chown(path, 0, group)
        return main

    def _listens(self) -> bool:
        return all(map(_accepts, (self.lmtp_port, self.imap_port, self.imaps_port, self.doveadm_port)))


def _accepted(reply: tuple[int, bytes]) -> None:
    if reply[0] not in {250, 251}:
        raise smtplib.SMTPResponseException(*reply)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((_HOST, port), timeout=5).close()
    except OSError:
        return False
    return True
