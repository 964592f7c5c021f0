"""Where stored passwords are. Pure."""

from typing import Final

from mailpush.properties.settings import Settings

OX_TABLE: Final = "OxTable"
DATABASE: Final = "Database"
FILE_OF_POD: Final = "FileOfPod"
PROCESS_MEMORY: Final = "ProcessMemory"
CLUSTER_MEMORY: Final = "ClusterMemory"


def kept_in(settings: Settings) -> str:
    """Where stored passwords are, in a word."""
    if settings.ox is not None:
        return OX_TABLE
    if not settings.credential_storage.rdb:
        return PROCESS_MEMORY if settings.redis is None else CLUSTER_MEMORY
    on_a_server = settings.database is not None and not settings.database.url.startswith("sqlite:")
    return DATABASE if on_a_server else FILE_OF_POD
