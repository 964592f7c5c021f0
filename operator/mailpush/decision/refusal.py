"""How a check says no."""

from typing import NamedTuple


class Refusal(NamedTuple):
    """Why a check says no."""

    reason: str
    """A stable word in CamelCase, one of `REASONS`."""
    message: str
    """A sentence for an administrator: what is the case and what to do."""
    code: str | None = None
    """OX's code for it, where there is one."""
