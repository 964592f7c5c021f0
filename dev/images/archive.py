"""Images of one layer, written as the docker archives that `ctr images import` and buildah read. No tool is needed."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_EPOCH = "1970-01-01T00:00:00Z"  # the same content gives the same image


def layer_of(files: Mapping[str, Path], layer: Path) -> None:
    """Writes a layer with these files (path in the image to path here), executable for all."""
    with tarfile.open(layer, "w") as archive:
        for name, source in files.items():
            info = tarfile.TarInfo(name.lstrip("/"))
            info.mode, info.size = 0o755, source.stat().st_size
            with source.open("rb") as content:
                archive.addfile(info, content)


def write(target: Path, reference: str, layer: Path, *, entrypoint: Sequence[str] = ()) -> None:
    """Writes the docker archive `target` of an image named `reference` with the one uncompressed `layer`."""
    with layer.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": _EPOCH,
            "config": {
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                **({"Entrypoint": list(entrypoint)} if entrypoint else {"Cmd": ["/bin/sh"]}),
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": _EPOCH, "created_by": "mail-push dev"}],
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [reference], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(target, "w") as archive:
        for name, text in ((config_name, config), ("manifest.json", manifest)):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
        info = tarfile.TarInfo("layer.tar")
        info.size = layer.stat().st_size
        with layer.open("rb") as content:
            archive.addfile(info, content)
