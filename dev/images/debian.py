"""Minimal Debians by mmdebstrap, from the mirror and with the keys of this machine's apt."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dev.images import workplace
from dev.processes import run
from dev.processes.progress import step
from dev.programs import cache, packages

SHARED: Final = Path("/var/tmp")
"""Where a program in a root folder meets those outside: the same folder at the same path."""

_DPKG_OPTIONS: Final = tuple(
    f"path-exclude=/usr/share/{what}/*" for what in ("man", "locale", "info", "lintian", "doc-base")
)
# The mounts are in a namespace of the program's own: they end with it, however it ends.
_ENTER: Final = (
    'mount --bind "$1" "$0$1" && mount --rbind /dev "$0/dev" && mount --rbind /proc "$0/proc" '
    '&& root="$0" && shift && exec chroot "$root" "$@"'
)


def content_hash(suite: str, included: Sequence[str]) -> str:
    """Twelve hexadecimal digits over what is asked for, whatever the mirror has of it."""
    return cache.hash_of(*map(str.encode, (suite, *included, *_DPKG_OPTIONS)))


def bootstrap(target: Path, suite: str, included: Sequence[str]) -> None:
    """A Debian `suite` with the packages `included`: as the tar `target`, or as a folder if it has no suffix. As root.

    Raises:
        DevError: with the last lines of what failed.
    """
    packages.ensure("mmdebstrap")
    with (
        step(f"building a Debian {suite} with {', '.join(included)}"),
        workplace.temporary(workplace.roomy()) as work,
    ):
        work.chmod(0o755)  # apt drops its rights to fetch
        run.talkative(
            "mmdebstrap",
            *("mmdebstrap", "--variant=minbase", "--mode=root", '--aptopt=APT::Install-Recommends "false"'),
            *(f"--dpkgopt={option}" for option in _DPKG_OPTIONS),
            *(f"--include={','.join(included)}", suite),
            target,
            *_mirror(),
            env={"TMPDIR": str(work), "DEBIAN_FRONTEND": "noninteractive"},
        )


def root(suite: str, included: Sequence[str]) -> Path:
    """A folder of the cache with such a Debian; the first call on a machine takes about a minute. As root.

    Raises:
        DevError: as `bootstrap`.
    """
    target = cache.entry("roots", f"{suite}-{content_hash(suite, included)}")
    return cache.once(target, lambda folder: bootstrap(folder, suite, included))


def inside(root: Path, *argv: run.Argument) -> tuple[run.Argument, ...]:
    """The command that runs `argv` in the folder `root`, as the same process: a signal to it reaches the program.

    The program has this machine's network, processes, devices and `SHARED`. As root.
    """
    return ("unshare", "--mount", "--propagation", "private", "--", "sh", "-c", _ENTER, root, SHARED, *argv)


def _mirror() -> tuple[str, ...]:
    """The one that this machine's apt is told to use; mmdebstrap's own choice where there is none."""
    wanted = ("indextargets", "--format", "$(ORIGIN)\t$(LABEL)\t$(REPO_URI)", "Created-By: Packages")
    lines = run.quiet("apt-get", *wanted, check=False).stdout.splitlines()
    return tuple(line.split("\t")[2] for line in lines if line.startswith("Debian\tDebian\t"))[:1]
