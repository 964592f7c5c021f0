"""What of a kubeconfig kubectl itself would go by."""

from pathlib import Path
from typing import Any

import yaml


def namespace_of(path: Path, context: str | None = None) -> str:
    """The namespace of a context, the current one where none is named; `default` where it says nothing."""
    try:
        loaded: Any = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return "default"  # whoever connects says what is wrong
    if not isinstance(loaded, dict):
        return "default"
    wanted = context or loaded.get("current-context")
    for entry in loaded.get("contexts") or ():
        if isinstance(entry, dict) and entry.get("name") == wanted:
            return str((entry.get("context") or {}).get("namespace") or "default")
    return "default"
