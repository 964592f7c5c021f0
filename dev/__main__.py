"""`python -m dev`: the local Kubernetes from the command line."""

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import click

from dev.cluster import nodes, preflight, providers
from dev.cluster.controlplane import ControlPlane
from dev.images import image as images
from dev.images import project, workplace
from dev.processes.errors import DevError
from dev.processes.progress import say
from dev.programs import binaries, pythons
from dev.services.releases import RELEASES


@click.group()
def main() -> None:
    """A real Kubernetes on this machine, for the tests and the demo."""


@main.command("binaries")
def show_binaries() -> None:
    """Fetches or builds every program and prints where it is."""
    for name, path in binaries.ensure().items():
        click.echo(f"{name}\t{path}")
    if os.geteuid() == 0:  # as the tests' Dovecot has to be run
        for release in RELEASES.values():
            click.echo(f"dovecot-{release.version}\t{release.root()}")


@main.command("python")
@click.argument("version")
def show_python(version: str) -> None:
    """Prints the path of a Python VERSION such as 3.13; exits with 1 where this machine has none."""
    if (found := pythons.find(version)) is None:
        sys.exit(1)
    click.echo(found)


@main.command()
def check() -> None:
    """Looks at what the machine must have and names everything that is missing."""
    findings = preflight.report()
    for finding in findings:
        click.echo(f"{'MISSING' if finding.problem else 'ok':8}{finding.about}")
        if finding.problem:
            click.echo(f"{'':8}{finding.problem}")
    sys.exit(any(finding.problem for finding in findings))


@main.command("control-plane")
def control_plane() -> None:
    """Runs a control plane without nodes until Ctrl-C; prints its kubeconfig's path."""
    preflight.demand(preflight.for_control_plane())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ControlPlane.start() as plane:
        click.echo(plane.kubeconfig)
        say(f"{plane.server} is ready; Ctrl-C ends it")
        try:
            signal.pause()
        except KeyboardInterrupt:
            say("ending")


@main.command()
@click.option("--nodes", "count", type=click.IntRange(1, 2), default=2, show_default=True)
def up(count: int) -> None:
    """Brings the cluster with real nodes up (root); it stays until `down`."""
    _native("up")
    click.echo(nodes.Cluster.up(count, staying=True).kubeconfig)


@main.command()
@click.option("--force", is_flag=True, help="also when another process owns it and still runs")
def down(force: bool) -> None:
    """Takes the cluster down, or what a killed run left, and leaves the machine as it was."""
    _native("down")
    nodes.down(force=force)
    workplace.forget_killed()


@main.command()
def status() -> None:
    """Says what is up, who owns it and which nodes are cut off."""
    click.echo(nodes.describe())


@main.command()
@click.option("--context", "name", help="a context of your kubeconfig, instead of the local cluster")
def kubeconfig(name: str | None) -> None:
    """Prints the path of the administrator's kubeconfig."""
    if providers.provider(name) == "native":
        click.echo(nodes.Cluster.attach().kubeconfig)
    else:
        assert name is not None
        click.echo(providers.CurrentCluster.of(name, Path(tempfile.mkdtemp(prefix="mail-push-"))).kubeconfig)


@main.command()
@click.argument("node")
def partition(node: str) -> None:
    """Cuts NODE (node1 or node2) off from everything else."""
    nodes.Cluster.attach().partition(node)


@main.command()
@click.argument("node")
def heal(node: str) -> None:
    """Joins NODE again."""
    nodes.Cluster.attach().heal(node)


@main.group()
def image() -> None:
    """The images: the project's and the testbed's."""


@image.command("build")
def image_build() -> None:
    """Builds them and prints name and archive."""
    for built in (project.build(), images.testbed()):
        click.echo(f"{built.reference}\t{built.archive}")


@image.command("load")
def image_load() -> None:
    """Builds them and makes them known to the cluster's nodes."""
    cluster = nodes.Cluster.attach()
    built = (project.build(), images.testbed())
    cluster.load_images(*built)
    for one in built:
        click.echo(one.reference)


def _native(verb: str) -> None:
    if providers.provider() != "native":  # pragma: no cover - provider() raises first
        raise DevError(f"`{verb}` is only for the local cluster")


def run() -> NoReturn:
    """The command line, with errors as one sentence."""
    try:
        main(standalone_mode=False)
    except DevError as error:
        sys.exit(f"dev: {error}")
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(0)


if __name__ == "__main__":
    run()
