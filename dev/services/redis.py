"""A real redis-server from Debian's package, private to one test, without persistence."""

import socket
from typing import Self

from dev.processes.errors import DevError
from dev.processes.group import Group, OfGroup, free_port
from dev.programs import packages


class Redis(OfGroup):
    """On `host`:`port`; empty at every start. `url` has the password, if there is one."""

    host = "127.0.0.1"

    def __init__(self, group: Group, password: str | None) -> None:
        super().__init__(group)
        self.password = password
        self.port = free_port()

    @classmethod
    def launch(cls, *, password: str | None = None) -> Self:
        """Starts one and waits until it answers.

        Raises:
            DevError: package missing and not root, or with its own log where it does not start.
        """
        packages.ensure(*packages.REDIS)
        group = Group("mail-push-redis")
        try:
            redis = cls(group, password)
            redis.start()
        except BaseException:
            group.close()
            raise
        return redis

    @property
    def url(self) -> str:
        return f"redis://{f':{self.password}@' if self.password else ''}{self.host}:{self.port}/0"

    def start(self) -> None:
        """Starts it (again) at the same port, empty."""
        config = self._group.folder / "redis.conf"  # the password belongs in no command line
        config.touch(mode=0o600)
        config.write_text(
            f"bind {self.host}\nport {self.port}\nsave ''\nappendonly no\ndir {self._group.folder}\n"
            + (f"requirepass {self.password}\n" if self.password else "")
        )
        self._group.start("redis", "redis-server", config)
        self._group.wait(self._answers, "Redis answers", "redis")

    def stop(self) -> None:
        """Takes it away as by kill -9."""
        self._group.stop("redis", grace=0)

    def set_policy(self, policy: str) -> None:
        """What it does when its memory is full; a start forgets it."""
        answer = self._ask(f"CONFIG SET maxmemory-policy {policy}")
        if answer != b"+OK":
            raise DevError(f"Redis does not take the policy: {answer.decode()}")

    def log(self) -> str:
        return self._group.read_log("redis")

    def _answers(self) -> bool:
        try:
            return self._ask("PING").startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def _ask(self, command: str) -> bytes:
        """The first line of the answer, without a login."""
        with socket.create_connection((self.host, self.port), timeout=5) as connection:
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(256).partition(b"\r\n")[0]
