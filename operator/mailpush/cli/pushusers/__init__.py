"""`pushusers`: the drop-in for /opt/open-xchange/sbin/pushusers. Standard library only, so that it starts at once."""

from mailpush.cli.pushusers.command import main

__all__ = ["main"]
