"""`kubectl mailpush plan`: what another number of pods, or a pod less, would move."""

import sys

from mailpush.cli.kubectl.manifests import Trouble
from mailpush.cli.kubectl.shards.output import written
from mailpush.cli.kubectl.shards.reading import fleet
from mailpush.cli.kubectl.shards.whatif import what_if


def run(
    name: str | None,
    *,
    replicas: int | None,
    without: tuple[str, ...],
    output: str,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> int:
    """The exit code: 0 where it is said, 2 where that cannot be done."""
    try:
        observed = fleet(name, namespace=namespace, kubeconfig=kubeconfig, context=context, users=True)
        found = what_if(observed, replicas, without)
    except Trouble as trouble:
        sys.stderr.write(f"kubectl mailpush plan: {trouble}\n")
        return 2
    sys.stdout.write(written(output, found.json, found.lines))
    return 0
