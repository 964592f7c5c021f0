"""Logs as JSON lines on stderr, those of libraries too."""

import logging
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import structlog

# Below this they log every request, with addresses in it.
QUIET: Final = ("aiohttp", "asyncio", "httpx", "httpcore", "kopf", "kubernetes", "redis", "urllib3")


LEVEL_VARIABLE: Final = "MAILPUSH_LOG_LEVEL"
LEVELS: Final = MappingProxyType(
    {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
)


def level_of(variables: Mapping[str, str]) -> int:
    """The level that the environment asks for; info where it asks for none, or for one that there is not."""
    return LEVELS.get(variables.get(LEVEL_VARIABLE, "").strip().lower(), logging.INFO)


def configure(level: int = logging.INFO) -> None:
    """One format for the whole process."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    # Without local variables: they may hold a password.
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
