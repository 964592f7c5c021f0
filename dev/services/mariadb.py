"""A real MariaDB from Debian's packages, private to one test, on a free loopback port."""

import getpass
import os
import re
import signal
from typing import Final, Self

from dev.cluster import pki
from dev.processes import run
from dev.processes.errors import DevError
from dev.processes.group import Group, OfGroup, free_port
from dev.programs import packages

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_]{1,64}")

# Small, and without the waits for a disk that nothing here relies on: kill -9 loses what the kernel loses, so nothing.
_SETTINGS: Final = (
    "character-set-server = utf8mb4",
    "innodb-buffer-pool-size = 32M",
    "innodb-log-file-size = 16M",
    "innodb-flush-log-at-trx-commit = 2",
    "innodb-flush-method = fsync",
    "innodb-doublewrite = OFF",
    "innodb-use-native-aio = OFF",
    "aria-pagecache-buffer-size = 8M",
    "key-buffer-size = 1M",
    "performance-schema = OFF",
    "skip-log-bin",
    "skip-name-resolve",
    "max-connections = 200",
)


class MariaDB(OfGroup):
    """On `host`:`port`. Its data survive `stop`. `ca_file` is the authority of its certificate, with `tls`."""

    host = "127.0.0.1"

    def __init__(self, group: Group, settings: tuple[str, ...], *, tls: bool) -> None:
        super().__init__(group)
        self.port = free_port()
        self.tls = tls
        self.ca_file = group.folder / "ca.pem"
        self._settings = settings
        self._pid = 0

    @classmethod
    def launch(cls, *settings: str, tls: bool = False) -> Self:
        """Starts one and waits until it answers.

        Args:
            settings: further lines of its file.
            tls: connections by TCP without TLS are refused.

        Raises:
            DevError: packages missing and not root, or with its own log where it does not start.
        """
        packages.ensure(*packages.MARIADB)
        group = Group("mail-push-mariadb")
        try:
            server = cls(group, settings, tls=tls)
            server._prepare()
            server.start()
        except BaseException:
            group.close()
            raise
        return server

    def start(self) -> None:
        """Starts it (again) at the same port, with its data, and waits until it answers."""
        self._pid = self._group.start("mariadbd", "mariadbd", f"--defaults-file={self._file}")
        self._group.wait(self._answers, "MariaDB answers", "mariadbd")

    def stop(self) -> None:
        """Takes it away as by kill -9, also while it is frozen."""
        self._group.stop("mariadbd", grace=0)

    def freeze(self) -> None:
        """It answers nothing more, and its connections stay, as on a machine that hangs. `start` does not end this."""
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Ends `freeze`."""
        os.kill(self._pid, signal.SIGCONT)

    def sql(self, text: str, database: str = "") -> list[tuple[str, ...]]:
        """Runs statements with all rights, past TCP and TLS; gives the rows, a NULL as the text `NULL`.

        Raises:
            DevError: with what the server says.
        """
        done = run.quiet(*self._client, database, input=text)
        return [tuple(line.split("\t")) for line in done.stdout.splitlines()]

    def create(self, database: str, user: str, password: str, rights: str = "ALL") -> None:
        """An empty database, and a user who has `rights` there, from any address."""
        self.create_database(database)
        self.create_user(user, password)
        self.grant(rights, database, user)

    def create_database(self, name: str) -> None:
        self.sql(f"CREATE DATABASE {_identifier(name)} CHARACTER SET utf8mb4")

    def create_user(self, name: str, password: str) -> None:
        """Makes one, or changes its password; open connections stay."""
        account = f"{_identifier(name)}@'%'"
        self.sql(f"CREATE USER IF NOT EXISTS {account}; ALTER USER {account} IDENTIFIED BY {_text(password)}")

    def grant(self, rights: str, database: str, user: str) -> None:
        """`rights` as SQL has them, in place of the former ones."""
        account = f"{_identifier(user)}@'%'"
        self.sql(
            f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account};"
            f"GRANT {rights} ON {_identifier(database)}.* TO {account}"
        )

    def log(self) -> str:
        return self._group.read_log("mariadbd")

    def _prepare(self) -> None:
        folder = self._group.folder
        self._file = folder / "my.cnf"
        owner = getpass.getuser()
        lines = [
            "[mysqld]",
            f"datadir = {folder / 'data'}",
            f"socket = {self._socket}",
            f"pid-file = {folder / 'mariadbd.pid'}",
            f"tmpdir = {folder}",
            f"user = {owner}",
            f"bind-address = {self.host}",
            f"port = {self.port}",
            *_SETTINGS,
            *(self._write_certificate() if self.tls else ()),
            *self._settings,
        ]
        self._file.write_text("\n".join(lines) + "\n")
        run.quiet(
            *("mariadb-install-db", f"--defaults-file={self._file}", "--skip-test-db"),
            *("--auth-root-authentication-method=socket", f"--auth-root-socket-user={owner}"),
        )

    def _write_certificate(self) -> tuple[str, ...]:
        authority = pki.Authority.new("mail-push test database")
        pair = authority.issue("localhost", names=(self.host, "localhost"))
        certificate, key = self._group.folder / "cert.pem", self._group.folder / "key.pem"
        self.ca_file.write_bytes(authority.pair.certificate)
        certificate.write_bytes(pair.certificate)
        key.touch(mode=0o600)
        key.write_bytes(pair.key)
        return f"ssl-cert = {certificate}", f"ssl-key = {key}", "require-secure-transport = ON"

    @property
    def _socket(self) -> str:
        return str(self._group.folder / "socket")

    @property
    def _client(self) -> tuple[str, ...]:
        return (
            *("mariadb", "--no-defaults", f"--socket={self._socket}", f"--user={getpass.getuser()}"),
            *("--batch", "--skip-column-names", "--connect-timeout=5", "--default-character-set=utf8mb4"),
        )

    def _answers(self) -> bool:
        return run.quiet(*self._client, input="SELECT 1", check=False).returncode == 0


def _identifier(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name):
        raise DevError(f"{name!r} is no name of a database or user: letters, digits and _, at most 64")
    return f"`{name}`"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
