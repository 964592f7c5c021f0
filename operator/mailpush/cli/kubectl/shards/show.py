"""`kubectl mailpush shards`: which pod has whom, what moves and why, what waits and for whom."""

import sys

from mailpush.cli.kubectl.manifests import Trouble
from mailpush.cli.kubectl.shards.output import written
from mailpush.cli.kubectl.shards.reading import fleet
from mailpush.cli.kubectl.shards.view import view


def run(name: str | None, *, output: str, namespace: str | None, kubeconfig: str | None, context: str | None) -> int:
    """The exit code: 0 where it is shown, 2 where that cannot be done."""
    try:
        found = view(fleet(name, namespace=namespace, kubeconfig=kubeconfig, context=context, users=False))
    except Trouble as trouble:
        sys.stderr.write(f"kubectl mailpush shards: {trouble}\n")
        return 2
    sys.stdout.write(written(output, found.json, found.lines))
    return 0
