"""Debian packages: installed when missing, without starting their daemons."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dev.processes import run
from dev.processes.errors import CommandError, DevError
from dev.processes.progress import step
from dev.programs import cache

DOVECOT: Final = ("dovecot-imapd", "dovecot-lmtpd")
REDIS: Final = ("redis-server",)
MARIADB: Final = ("mariadb-server-core", "mariadb-client-core")  # without the unit and its data of mariadb-server
NODES: Final = (
    "iproute2", "nftables", "iptables", "conntrack", "containerd", "runc", "containernetworking-plugins",
    "procps", "mount", "util-linux",  # sysctl, mount and nsenter: a minimal Debian lacks the first
)  # fmt: skip
IMAGES: Final = ("buildah", "mmdebstrap", "catatonit", "ca-certificates")

_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# mail-push dev: a package's daemon must not start while it is installed\nexit 101\n"


def missing(*names: str) -> list[str]:
    """Those of `names` that are not installed."""
    return [name for name in names if not _installed(name)]


def ensure(*names: str) -> None:
    """Installs what is missing of `names`.

    Raises:
        DevError: not Debian, not root (then it names the command), or apt-get failed.
    """
    wanted = missing(*names)
    if not wanted:
        return
    command = f"apt-get install --yes --no-install-recommends {' '.join(wanted)}"
    if shutil.which("apt-get") is None:
        raise DevError(f"these Debian packages are needed, and this is no Debian: {', '.join(wanted)}")
    if os.geteuid() != 0:
        raise DevError(f"these Debian packages are missing: {', '.join(wanted)}; as root: {command}")
    with cache.lock("apt"), step(f"installing {', '.join(wanted)}"), _no_daemons():
        wanted = missing(*wanted)
        if not wanted:
            return
        try:
            _apt_get("install", *wanted)
        except CommandError:  # lists that are absent or old
            _apt_get("update")
            _apt_get("install", *wanted)


def _installed(name: str) -> bool:
    done = run.quiet("dpkg-query", "--show", "--showformat=${db:Status-Status}", name, check=False)
    return done.stdout == "installed"


def _apt_get(verb: str, *names: str) -> None:
    run.talkative(
        f"apt-get {verb}",
        *("apt-get", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=600", verb, *names),
        env={"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"},
        outlives_us=True,
    )


@contextmanager
def _no_daemons() -> Iterator[None]:
    """Debian's own switch: while policy-rc.d exits 101, invoke-rc.d starts nothing. An existing one is left alone."""
    if _POLICY.exists() and _POLICY.read_text() != _POLICY_TEXT:
        yield
        return
    _POLICY.write_text(_POLICY_TEXT)  # or left by a run that was killed
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
