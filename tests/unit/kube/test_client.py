"""What is between us and the API server may answer in its place."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from mailpush.kube.client import Kube
from mailpush.kube.errors import UnreachableError
from mailpush.kube.resources import LEASE

PAGE = "<html>the gateway is being maintained</html>\n"


@pytest.fixture
async def kube(tmp_path: Path) -> AsyncIterator[Kube]:
    """A client of a proxy that answers everything with a page."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
        "users": [{"name": "it", "user": {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    async with await Kube.connect(tmp_path / "config") as kube:
        yield kube
    await runner.cleanup()


async def test_a_page_of_a_proxy_is_no_answer_and_ends_nobody(kube: Kube) -> None:
    with pytest.raises(UnreachableError, match="not the API server's"):
        await kube.get(LEASE, "ns", "one")
    with pytest.raises(UnreachableError, match="not the API server's"):
        async for _ in kube.watch(LEASE, "ns", "1"):
            pass
