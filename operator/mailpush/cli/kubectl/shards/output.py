"""What is said, as a table, as JSON or as YAML."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import yaml


def written(output: str, data: Callable[[], dict[str, Any]], lines: Callable[[], Iterable[str]]) -> str:
    """The text. `output`: table, json or yaml."""
    if output == "json":
        return json.dumps(data(), indent=2) + "\n"
    if output == "yaml":
        return yaml.safe_dump(data(), sort_keys=False, allow_unicode=True)
    return "".join(f"{line}\n" for line in lines())
