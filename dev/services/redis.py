"""A real redis-server from Debian's package, private to one test, without persistence."""

import os
import signal
import socket
from typing import Self

from dev.cluster import pki
from dev.processes import run
from dev.processes.errors import DevError
from dev.processes.group import Group, OfGroup, free_port
from dev.programs import packages


class Redis(OfGroup):
    """On `host`:`port`; empty at every start. `url` has the password, if there is one.

    `ca_file` is the authority of its certificate, with `tls`. A `cluster` of one node has all slots.
    """

    host = "127.0.0.1"

    def __init__(self, group: Group, password: str | None, *, tls: bool, cluster: bool) -> None:
        super().__init__(group)
        self.password = password
        self.tls = tls
        self.cluster = cluster
        self.port = free_port()
        self.ca_file = group.folder / "ca.pem"
        self._pid = 0

    @classmethod
    def launch(cls, *, password: str | None = None, tls: bool = False, cluster: bool = False) -> Self:
        """Starts one and waits until it answers.

        Raises:
            DevError: package missing and not root, or with its own log where it does not start.
        """
        packages.ensure(*packages.REDIS)
        group = Group("mail-push-redis")
        try:
            redis = cls(group, password, tls=tls, cluster=cluster)
            if tls:
                redis._write_certificate()
            redis.start()
        except BaseException:
            group.close()
            raise
        return redis

    @property
    def url(self) -> str:
        scheme = ("rediss" if self.tls else "redis") + ("+cluster" if self.cluster else "")
        login = f":{self.password}@" if self.password else ""
        return f"{scheme}://{login}{self.host}:{self.port}{'' if self.cluster else '/0'}"

    def start(self) -> None:
        """Starts it (again) at the same port, empty."""
        folder = self._group.folder
        config = folder / "redis.conf"  # the password belongs in no command line
        config.touch(mode=0o600)
        port = f"port 0\ntls-port {self.port}\n" if self.tls else f"port {self.port}\n"
        config.write_text(
            f"bind {self.host}\n{port}save ''\nappendonly no\ndir {folder}\n"
            + (
                f"tls-cert-file {folder}/cert.pem\ntls-key-file {folder}/key.pem\n"
                f"tls-ca-cert-file {self.ca_file}\ntls-auth-clients no\n"
                if self.tls
                else ""
            )
            + (f"requirepass {self.password}\nmasterauth {self.password}\n" if self.password else "")
            + (f"cluster-enabled yes\ncluster-port {free_port()}\n" if self.cluster else "")
            + ("tls-cluster yes\n" if self.cluster and self.tls else "")
        )
        (folder / "nodes.conf").unlink(missing_ok=True)
        self._pid = self._group.start("redis", "redis-server", config)
        self._group.wait(self._answers, "Redis answers", "redis")
        if self.cluster:
            self.say("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            self._group.wait(lambda: "cluster_state:ok" in self.say("CLUSTER", "INFO"), "the slots are served", "redis")

    def freeze(self) -> None:
        """It answers nothing more, and its connections stay."""
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Ends `freeze`."""
        os.kill(self._pid, signal.SIGCONT)

    def say(self, *command: str) -> str:
        """What it answers to a command, as redis-cli prints it."""
        tls = ("--tls", "--cacert", str(self.ca_file)) if self.tls else ()
        login = {"REDISCLI_AUTH": self.password} if self.password else {}
        return run.quiet(
            *("redis-cli", "-h", self.host, "-p", str(self.port), *tls, *command), env=login
        ).stdout.strip()

    def stop(self) -> None:
        """Takes it away as by kill -9."""
        self._group.stop("redis", grace=0)

    def set_policy(self, policy: str) -> None:
        """What it does when its memory is full; a start forgets it."""
        answer = self.say("CONFIG", "SET", "maxmemory-policy", policy)
        if answer != "OK":
            raise DevError(f"Redis does not take the policy: {answer}")

    def log(self) -> str:
        return self._group.read_log("redis")

    def _write_certificate(self) -> None:
        authority = pki.Authority.new("mail-push test memory")
        pair = authority.issue("localhost", names=(self.host, "localhost"))
        self.ca_file.write_bytes(authority.pair.certificate)
        (self._group.folder / "cert.pem").write_bytes(pair.certificate)
        key = self._group.folder / "key.pem"
        key.touch(mode=0o600)
        key.write_bytes(pair.key)

    def _answers(self) -> bool:
        """Without a login, and where it wants TLS, without that."""
        try:
            with socket.create_connection((self.host, self.port), timeout=5) as connection:
                if self.tls:
                    return True
                connection.sendall(b"PING\r\n")
                return connection.recv(256).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False
