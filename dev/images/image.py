"""The cluster's images, made without a registry and cached as docker archives by a hash of what goes into them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dev.images import archive, debian
from dev.programs import binaries, cache, packages

_PREFIX = "docker.io/mail-push"
_CATATONIT = Path("/usr/bin/catatonit")  # Debian's is static, and `-P` is what a pause container does
_KEPT = 3  # archives of an image whose content changes

SUITE: Final = "bookworm"
BASE_PACKAGES: Final = ("ca-certificates", "python3", "python3-venv")
TESTBED_PACKAGES: Final = ("ca-certificates", "python3", *packages.DOVECOT, *packages.REDIS, *packages.MARIADB)


@dataclass(frozen=True)
class Image:
    """An image by its full name, and the docker archive that holds it."""

    reference: str
    archive: Path

    @property
    def repository(self) -> str:
        return self.reference.rpartition(":")[0]

    @property
    def tag(self) -> str:
        return self.reference.rpartition(":")[2]


def pause() -> Image:
    """What holds a pod's namespaces."""
    packages.ensure("catatonit")
    return _of_file("pause", "1", _CATATONIT, "/pause", "-P")


def coredns() -> Image:
    return _of_file("coredns", "1", binaries.path("coredns"), "/coredns")


def base() -> Image:
    """Debian 12 with Python and venv: both bases of the project's Dockerfile."""
    return _debian("base", BASE_PACKAGES)


def testbed() -> Image:
    """Debian 12 with Dovecot, Redis, MariaDB and Python, for the pods that a demo or a test runs beside the product."""
    return _debian("testbed", TESTBED_PACKAGES)


def cached(name: str, content: str, make: Callable[[Path, str], None], *, tag: str | None = None) -> Image:
    """The image `name` whose content has the hash `content`; `make(archive, reference)` writes it when it is new."""
    reference = f"{_PREFIX}/{name}:{tag or content}"
    target = cache.once(cache.entry("images", f"{name}-{content}.tar"), lambda path: make(path, reference))
    target.touch()
    _prune(name, keep=_KEPT)
    return Image(reference, target)


def _prune(name: str, keep: int) -> None:
    found = sorted(cache.entry("images", "").glob(f"{name}-????????????.tar"), key=lambda path: path.stat().st_mtime)
    for path in found[:-keep]:
        path.unlink(missing_ok=True)


def _of_file(name: str, tag: str, program: Path, path: str, *arguments: str) -> Image:
    with program.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()[:12]

    def make(target: Path, reference: str) -> None:
        layer = target.with_name("layer.tar")
        archive.layer_of({path: program}, layer)
        archive.write(target, reference, layer, entrypoint=(path, *arguments))

    return cached(name, digest, make, tag=tag)


def _debian(name: str, included: tuple[str, ...]) -> Image:
    def make(target: Path, reference: str) -> None:
        layer = target.with_name("layer.tar")
        debian.bootstrap(layer, SUITE, included)
        archive.write(target, reference, layer)

    return cached(name, debian.content_hash(SUITE, included), make)
