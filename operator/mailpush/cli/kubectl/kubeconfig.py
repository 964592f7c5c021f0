"""What of a kubeconfig kubectl itself would go by."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mailpush.cli.kubectl.manifests import Trouble


def files_of(kubeconfig: str | None, environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """The files that are read, as in kubectl: the one that is named, else those of $KUBECONFIG, else ~/.kube/config.

    Raises:
        Trouble: there is none of them.
    """
    found: tuple[Path, ...]
    if kubeconfig:
        found, said = (Path(kubeconfig).expanduser(),), f"there is no kubeconfig {kubeconfig}"
    elif named := environment.get("KUBECONFIG"):
        found = tuple(Path(part) for part in named.split(os.pathsep) if part)
        said = f"there is no kubeconfig {named}, which KUBECONFIG names"
    else:
        found = (Path("~/.kube/config").expanduser(),)
        said = f"there is no kubeconfig {found[0]}"
    if not any(path.is_file() for path in found):
        raise Trouble(f"{said}: see --kubeconfig, or read files with -f")
    return found


def namespace_of(files: Sequence[Path], context: str | None = None) -> str:
    """The namespace of a context, the current one where none is named; `default` where it says nothing.

    Of several files the first that has something counts.
    """
    loaded = list(_loaded(files))
    wanted = context or next((one["current-context"] for one in loaded if one.get("current-context")), None)
    for one in loaded:
        for entry in one.get("contexts") or ():
            if isinstance(entry, dict) and entry.get("name") == wanted:
                return str((entry.get("context") or {}).get("namespace") or "default")
    return "default"


def _loaded(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in files:
        try:
            loaded: Any = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue  # whoever connects says what is wrong
        if isinstance(loaded, dict):
            yield loaded
