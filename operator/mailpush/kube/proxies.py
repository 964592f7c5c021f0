"""Whether a proxy of the environment is between us and the API server."""

from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies


def direct(server: str) -> bool:
    """Whether the proxies of HTTPS_PROXY and the like are not for `server`, where kubectl would not ask them either:
    it is on this machine, or its address is in a network that NO_PROXY names (10.0.0.0/8).

    aiohttp reads the other forms of NO_PROXY, but no networks.
    """
    host = urlsplit(server).hostname or ""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or any(_holds(part.strip(), address) for part in getproxies().get("no", "").split(","))


def _holds(network: str, address: object) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:
        return False
