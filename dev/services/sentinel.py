"""A real Sentinel of Redis from Debian's package, that watches servers and moves the master."""

from typing import Self

from dev.processes import run
from dev.processes.group import Group, OfGroup, free_port
from dev.services.redis import Redis

NAME = "mail-push"
"""Of the master that it watches."""


class Sentinel(OfGroup):
    """One that alone decides. Replicas of the master become known to it by themselves."""

    host = "127.0.0.1"

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self.port = free_port()
        self._password: str | None = None

    @classmethod
    def launch(cls, master: Redis, *, password: str | None = None, patience: int = 1000) -> Self:
        """Starts one.

        Args:
            password: its own; that of the master it knows.
            patience: milliseconds after which a master that does not answer is down.

        Raises:
            DevError: with its own log where it does not start.
        """
        group = Group("mail-push-sentinel")
        try:
            sentinel = cls(group)
            config = group.folder / "sentinel.conf"
            config.touch(mode=0o600)
            config.write_text(
                f"bind {cls.host}\nport {sentinel.port}\ndir {group.folder}\n"
                f"sentinel monitor {NAME} {master.host} {master.port} 1\n"
                f"sentinel down-after-milliseconds {NAME} {patience}\nsentinel failover-timeout {NAME} 2000\n"
                + (f"sentinel auth-pass {NAME} {master.password}\n" if master.password else "")
                + (f"requirepass {password}\n" if password else "")
            )
            group.start("sentinel", "redis-server", config, "--sentinel")
            sentinel._password = password
            group.wait(lambda: sentinel.say("PING") == "PONG", "Sentinel answers", "sentinel")
        except BaseException:
            group.close()
            raise
        return sentinel

    def say(self, *command: str) -> str:
        """What it answers to a command, as redis-cli prints it."""
        login = {"REDISCLI_AUTH": self._password} if self._password else {}
        argv = ("redis-cli", "-h", self.host, "-p", str(self.port), *command)
        return run.quiet(*argv, env=login, check=False).stdout.strip()

    def url(self, password: str | None = None) -> str:
        """Of the master, through this one."""
        return f"redis+sentinel://{f':{password}@' if password else ''}{self.host}:{self.port}/{NAME}/0"
