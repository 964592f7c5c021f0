"""`mail-push crds`: the CustomResourceDefinitions that belong to this version."""

from mailpush.api import crds


def run(directory: str, check: bool) -> int:
    """The exit code: 1 where `check` is set and a file differs."""
    return crds.run(directory, check=check)
