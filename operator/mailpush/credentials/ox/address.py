"""Where OX's databases are, as its own configuration database says it."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

DEFAULT_PORT = 3306


@dataclass(frozen=True, slots=True)
class Address:
    """One MariaDB or MySQL server, and who logs in."""

    host: str
    port: int = DEFAULT_PORT
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None


def from_url(url: str, username: str | None, password: str | None) -> Address:
    """From `mysql://host:port/name` or `mariadb://...`.

    Raises:
        ValueError: it is none; the text does not repeat it, as it may hold a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"mysql", "mariadb"} or not parts.hostname:
        raise ValueError("the address of the configdb is not mysql://host:port/name")
    return Address(parts.hostname, parts.port or DEFAULT_PORT, username, password, parts.path.strip("/") or None)


def from_jdbc(url: str, username: str | None, password: str | None) -> Address:
    """From `db_pool.url`: `jdbc:mysql://host:port/?options`, of several hosts (failover) the first.

    Its options are the driver's, and are left. Raises ValueError as `from_url` does.
    """
    prefix, _, rest = url.strip().partition("://")
    words = prefix.lower().split(":")
    if words[0] != "jdbc" or not {"mysql", "mariadb"} & set(words) or not rest:
        raise ValueError("a pool's url is not jdbc:mysql://host:port")
    first = rest.partition("/")[0].partition("?")[0].partition(",")[0]
    parts = urlsplit(f"//{first.rpartition('@')[2]}")
    if not parts.hostname:
        raise ValueError("a pool's url names no host")
    return Address(parts.hostname, parts.port or DEFAULT_PORT, username or None, password)
