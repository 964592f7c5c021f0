"""Its paths. Nothing else, as the command line tool imports it."""

from typing import Final

LISTENERS: Final = "/admin/v1/listeners"
REGISTRATIONS: Final = "/admin/v1/registrations"
