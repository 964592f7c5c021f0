"""The sub-commands of `kubectl mailpush`. Imports nothing before it is asked to run."""

import click

from mailpush import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kubectl mailpush")
def main() -> None:
    """Ask Mail Push what it does and why."""
