"""The sub-commands `shards` and `plan`. Imports nothing before one is asked to run."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
MOST_PODS: Final = 1000
"""As the MailPushConfig's definition has it."""


def _asking(command: Decorated) -> Decorated:
    """The options that say which cluster is asked, and how the answer looks."""
    for option in (
        click.option(
            "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", help="Default: table."
        ),
        click.option("--context", help="A context of the kubeconfig. Default: the current one."),
        click.option("--kubeconfig", type=click.Path(), help="Default: $KUBECONFIG, or ~/.kube/config."),
        click.option("-n", "--namespace", help="Default: that of the kubeconfig's context."),
        click.argument("name", required=False),
    ):
        command = option(command)
    return command


@click.command()
@_asking
def shards(*, name: str | None, **asking: Any) -> None:
    """Say which listener pod has whom, what moves and why, and what waits and for whom.

    NAME is the MailPushConfig's, which may be left out where the namespace has only one.
    """
    from mailpush.cli.kubectl.shards.show import run

    raise SystemExit(run(name, **asking))


@click.command()
@click.option("--replicas", type=click.IntRange(0, MOST_PODS), help="How many pods are to be wanted.")
@click.option("--without", multiple=True, metavar="POD", help="A pod that ends, and none comes in its place.")
@_asking
def plan(*, name: str | None, replicas: int | None, without: tuple[str, ...], **asking: Any) -> None:
    """Say what another number of pods, or the end of one, would move. Nothing is changed.

    The operator's own planner is asked, on what the cluster has now. NAME is the MailPushConfig's, which may be left
    out where the namespace has only one.
    """
    from mailpush.cli.kubectl.shards.plan import run

    if replicas is None and not without:
        raise click.UsageError("say what is to change: --replicas N, --without POD, or both")
    raise SystemExit(run(name, replicas=replicas, without=without, **asking))
