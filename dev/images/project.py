"""The project's image from its own Dockerfile, and the wheels that its build needs where it reaches no index.

The Dockerfile's side of it: `BUILD_BASE` and `RUNTIME_BASE` are build arguments, and wheels are taken from
`wheelhouse/` when that holds any. The work tree is never written to: the build gets a copy.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from packaging.markers import Marker

from dev.images import image as images
from dev.images import workplace
from dev.images.image import Image
from dev.processes import run
from dev.processes.progress import step
from dev.programs import cache, packages

REPOSITORY: Final = Path(__file__).parents[2]
PYTHON: Final = "3.11"  # Debian 12's, which runs in the image
# What the image's Python says of itself where a lock's markers ask; pip would ask the Python that runs here.
_MARKERS: Final = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.2",
    "python_version": PYTHON,
    "sys_platform": "linux",
}
LOCKS: Final = ("requirements.txt", "requirements-build.txt")
_GLIBC: Final = (36, 35, 34, 31, 28, 27, 26, 24, 17, 12, 5)  # 2.36 is Debian 12's
_IGNORED: Final = shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache", "*.egg-info")


def build(repository: Path = REPOSITORY) -> Image:
    """The image of this work tree as it stands; built when its content is new.

    Raises:
        DevError: with the end of the build's output.
    """
    base = images.base()
    with workplace.temporary() as work:
        context = work / "context"
        copy_context(repository, context)
        content = cache.hash_of(base.reference.encode(), *_contents(context))

        def make(target: Path, reference: str) -> None:
            house = wheelhouse(*((repository / lock).read_text() for lock in LOCKS))
            for wheel in house.glob("*.whl"):
                _link_or_copy(wheel, context / "wheelhouse" / wheel.name)
            with step("building the project's image"):
                _buildah(context, base, reference, target)

        return images.cached("mail-push", content, make)


def sources(dockerfile: str) -> list[str]:
    """What a Dockerfile copies from its context, in its own words (`COPY --from` copies from another stage)."""
    found: list[str] = []
    for line in dockerfile.replace("\\\n", " ").splitlines():
        words = line.split()
        if words and words[0].upper() in {"COPY", "ADD"}:
            if any(word.startswith("--from=") for word in words):
                continue
            found += [word for word in words[1:-1] if not word.startswith("--")]
    return found


def copy_context(repository: Path, context: Path) -> None:
    """Copies the Dockerfile and just what it names, so that nothing else can change the image."""
    context.mkdir(parents=True)
    (context / "wheelhouse").mkdir()
    for name in ("Dockerfile", ".dockerignore", *sources((repository / "Dockerfile").read_text())):
        for source in repository.glob(name.strip("/")) if name.strip("./") else ():
            target = context / source.relative_to(repository)
            if target.name == "wheelhouse":
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True, ignore=_IGNORED)
            else:
                shutil.copy2(source, target)


def for_image(lock: str) -> str:
    """A hashed lock file's requirements that apply in the image, without their markers."""
    kept: list[str] = []
    applies = True
    for line in lock.splitlines():
        if line[:1].isalnum():
            requirement, _, marker = line.rstrip("\\ ").partition(";")
            applies = not marker or Marker(marker).evaluate(dict(_MARKERS))
            line = f"{requirement.strip()} \\"  # noqa: PLW2901
        if applies:
            kept.append(line)
    return "\n".join(kept) + "\n"


def wheelhouse(*locks: str) -> Path:
    """A folder with the wheels of hashed lock files, for the image's Python whatever Python runs here."""
    wanted = [for_image(lock) for lock in locks]
    target = cache.entry("wheelhouse", cache.hash_of(PYTHON.encode(), *map(str.encode, wanted)))

    def make(folder: Path) -> None:
        folder.mkdir()
        with step("fetching the image's wheels"):
            for number, lock in enumerate(wanted):
                requirements = folder / f"lock{number}.txt"
                requirements.write_text(lock)
                run.talkative("fetching wheels", *_pip_download(folder, requirements))
                requirements.unlink()

    return cache.once(target, make)


def _pip_download(folder: Path, requirements: Path) -> tuple[run.Argument, ...]:
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in _GLIBC] + ["manylinux2014_x86_64", "linux_x86_64"]
    return (
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"),
        *("--abi=cp311", "--abi=abi3", "--abi=none", *(f"--platform={platform}" for platform in platforms)),
        *("--dest", folder, "-r", requirements),
    )


@contextmanager
def _leaving_none(*folders: Path) -> Iterator[None]:
    """Removes those of `folders` that come into being meanwhile."""
    absent = [folder for folder in folders if not folder.exists()]
    try:
        yield
    finally:
        for folder in absent:
            shutil.rmtree(folder, ignore_errors=True)


def _contents(context: Path) -> list[bytes]:
    """Every file's path, mode and content, in a fixed order."""
    parts: list[bytes] = []
    for path in sorted(context.rglob("*")):
        if path.is_file():
            parts += [f"{path.relative_to(context)} {path.stat().st_mode & 0o111}".encode(), path.read_bytes()]
    return parts


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _buildah(context: Path, base: Image, reference: str, target: Path) -> None:
    """Builds in a store of its own, which goes afterwards: the vfs driver copies the whole base for every layer."""
    packages.ensure("buildah")
    with (
        cache.lock("buildah"),
        _leaving_none(Path("/etc/cni"), Path("/var/lib/containers")),  # it makes both, whatever its options say
        workplace.temporary(workplace.roomy()) as store,
    ):
        buildah = ("buildah", "--storage-driver", "vfs", "--root", f"{store}/root", "--runroot", f"{store}/run")
        environment = {"TMPDIR": str(store), "BUILDAH_ISOLATION": "chroot"}
        run.talkative(
            "loading the base", *buildah, "pull", "--quiet", f"docker-archive:{base.archive}", env=environment
        )
        run.talkative(
            "building the image",
            *(*buildah, "bud", "--isolation", "chroot", "--pull-never", "--format", "docker"),
            *("--build-arg", f"BUILD_BASE={base.reference}", "--build-arg", f"RUNTIME_BASE={base.reference}"),
            *("--file", context / "Dockerfile", "--tag", reference, context),
            env=environment,
        )
        run.talkative(
            "writing the image", *buildah, "push", "--quiet", reference, f"docker-archive:{target}:{reference}"
        )
