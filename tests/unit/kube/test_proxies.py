"""Which requests to the API server go by a proxy."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration

from mailpush.kube.client import Kube
from mailpush.kube.proxies import direct
from mailpush.kube.resources import LEASE

AWAY = "http://127.0.0.1:9"


class Server:
    """An API server, or a proxy that answers in the place of one, with what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers["host"])
        return web.json_response({"metadata": {"name": "one"}})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


def environment(monkeypatch: pytest.MonkeyPatch, proxy: str, no_proxy: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    if no_proxy:
        monkeypatch.setenv("NO_PROXY", no_proxy)


async def asked(folder: Path, server: str, **cluster: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "it", "user": {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
    (folder / "config").write_text(yaml.safe_dump(config))
    async with await Kube.connect(folder / "config") as kube:
        await kube.get(LEASE, "ns", "one")


@pytest.mark.parametrize("no_proxy", ["127.0.0.0/8", "example.org, 127.0.0.0/8", "127.0.0.1", "*", ""])
async def test_an_api_server_of_this_machine_is_asked_itself(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_proxy: str
) -> None:
    environment(monkeypatch, AWAY, no_proxy)
    await asked(tmp_path, server.url)
    assert len(server.asked) == 1


async def test_a_pod_asks_its_api_server_itself(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_cluster(client_configuration: Configuration) -> None:
        client_configuration.host = server.url

    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setattr(kube_config, "load_incluster_config", in_cluster)
    monkeypatch.setattr("mailpush.kube.client.direct", lambda _: False)  # as is the cluster's address
    environment(monkeypatch, AWAY, "")
    async with await Kube.connect() as kube:
        await kube.get(LEASE, "ns", "one")
    assert len(server.asked) == 1


async def test_one_elsewhere_is_asked_by_the_environments_proxy_as_by_kubectl(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, server.url, "127.0.0.0/8")
    await asked(tmp_path, "http://192.0.2.1:6443")
    assert server.asked == ["192.0.2.1:6443"]


async def test_the_kubeconfigs_own_proxy_is_asked_whatever_the_environment_says(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, AWAY, "192.0.2.0/24")
    await asked(tmp_path, "http://192.0.2.1:6443", **{"proxy-url": server.url})
    assert server.asked == ["192.0.2.1:6443"]


@pytest.mark.parametrize(
    ("url", "no_proxy", "itself"),
    [
        ("https://10.1.2.3:6443", "10.0.0.0/8", True),
        ("https://10.1.2.3:6443", "example.org,10.1.2.3/24", True),
        ("https://[fd00::1]:6443", "fd00::/8", True),
        ("https://[::1]:6443", "", True),
        ("https://localhost:6443", "", True),
        ("https://11.1.2.3:6443", "10.0.0.0/8", False),
        ("https://api.example.org", "10.0.0.0/8", False),
        ("https://10.1.2.3:6443", "fd00::/8,10.0.0.0/99, ,x/y", False),
    ],
)
def test_networks_of_no_proxy_are_read(monkeypatch: pytest.MonkeyPatch, url: str, no_proxy: str, itself: bool) -> None:
    environment(monkeypatch, AWAY, no_proxy)
    assert direct(url) is itself
