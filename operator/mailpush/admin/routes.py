"""Its paths. Nothing else, as the command line tools import it."""

from typing import Final

LISTENERS: Final = "/admin/v1/listeners"
REGISTRATIONS: Final = "/admin/v1/registrations"
CREDENTIALS: Final = "/admin/v1/credentials"
NDJSON: Final = "application/x-ndjson"
"""The content type of an import: one JSON object a line."""
