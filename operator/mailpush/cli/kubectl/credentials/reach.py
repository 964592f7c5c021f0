"""Which endpoint is asked, how it is reached, and with which login."""

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from mailpush import names
from mailpush.cli.kubectl.cluster import ask, chosen_config
from mailpush.cli.kubectl.credentials.endpoint import LIMITS, TIMEOUTS, Endpoint, Login
from mailpush.cli.kubectl.credentials.forward import PortForward
from mailpush.cli.kubectl.credentials.tls import pinned, trusting
from mailpush.cli.kubectl.kubeconfig import files_of, namespace_of
from mailpush.cli.kubectl.manifests import Object, Trouble
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import NotFoundError
from mailpush.kube.secrets import text_of

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
WITHOUT: Final = "give --url and --adminuser"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says of the way."""

    config: str | None = None
    namespace: str | None = None
    kubeconfig: str | None = None
    context: str | None = None
    url: str | None = None
    ca_file: str | None = None
    adminuser: str | None = None
    adminpass_file: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a cluster says of a MailPushConfig's endpoint."""

    config: str
    login: Login
    certificate: str | None = field(default=None, repr=False)
    """The one of admin.tlsSecretRef; None where it talks plain HTTP."""
    certificate_of: str = ""


@contextmanager
def endpoint(options: Options) -> Iterator[Endpoint]:
    """The endpoint, for the block. Raises Trouble where there is no way to it."""
    way = _by_url(options) if options.url else _Forwarded(options, ask(_find(options), without=WITHOUT))
    asked = Endpoint(way)
    try:
        yield asked
    finally:
        asked.close()


# -- by a forwarded port


class _Forwarded:
    """Each time to a pod that is ready then."""

    def __init__(self, options: Options, found: Found) -> None:
        self._options = options
        self._found = found
        self._forward: PortForward | None = None
        self._client: httpx.Client | None = None

    def open(self) -> httpx.Client:
        self.close()
        options, found = self._options, self._found
        namespace = _namespace(options)
        pod = ask(_ready_pod(options, namespace, found.config), without=WITHOUT)
        which = ["--namespace", namespace]
        which += ["--kubeconfig", options.kubeconfig] if options.kubeconfig else []
        which += ["--context", options.context] if options.context else []
        self._forward = PortForward(pod, names.ADMIN_PORT, which)
        self._forward.__enter__()
        if found.certificate is None:
            url, verify = f"http://127.0.0.1:{self._forward.port}", trusting(None)
        else:
            url = f"https://127.0.0.1:{self._forward.port}"
            verify = pinned(found.certificate, found.certificate_of)
        self._client = _client(url, found.login, verify, proxies=False)
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        if self._forward is not None:
            self._forward.close()


async def _find(options: Options) -> Found:
    namespace = _namespace(options)
    async with await _connect(options) as kube:
        config = await chosen_config(kube, namespace, options.config, by="with --config")
        name = config["metadata"]["name"]
        admin: Object = (config.get("spec") or {}).get("admin") or {}
        secret = (admin.get("authSecretRef") or {}).get("name")
        if secret is None:
            raise Trouble(
                f"MailPushConfig {name} has no admin.authSecretRef, so its admin endpoint lets nobody in: name a "
                "Secret with login and password (docs/pushusers.md)"
            )
        login, password = await _texts(kube, namespace, secret, "login", "password")
        certificate, tls = None, (admin.get("tlsSecretRef") or {}).get("name")
        if tls is not None:
            (certificate,) = await _texts(kube, namespace, tls, "tls.crt")
        # As a file ends that `kubectl create secret --from-file` took.
        return Found(name, Login(login.rstrip("\r\n"), password.rstrip("\r\n")), certificate, f"Secret {tls}")


async def found_config(options: Options) -> Object:
    """The MailPushConfig that is meant. Raises Trouble."""
    async with await _connect(options) as kube:
        return await chosen_config(kube, _namespace(options), options.config, by="with --config")


async def _texts(kube: Kube, namespace: str, name: str, *keys: str) -> list[str]:
    try:
        secret = await kube.get(resources.SECRET, namespace, name)
    except NotFoundError:
        raise Trouble(f"there is no Secret {name} in namespace {namespace}, which the MailPushConfig names") from None
    texts = [text_of(secret, key) or "" for key in keys]
    for key, text in zip(keys, texts, strict=True):
        if not text.strip():
            raise Trouble(f"Secret {name} has no {key}")
    return texts


async def _ready_pod(options: Options, namespace: str, config: str) -> str:
    selector = ",".join(f"{key}={value}" for key, value in names.listener_selector(config).items())
    async with await _connect(options) as kube:
        pods, _ = await kube.list(resources.POD, namespace, label_selector=selector)
    ready = sorted(pod["metadata"]["name"] for pod in pods if _is_ready(pod))
    if not ready:
        raise Trouble(f"no listener pod of MailPushConfig {config} is ready: see kubectl get pods -n {namespace}")
    return str(ready[0])


def _is_ready(pod: Object) -> bool:
    conditions: list[Object] = (pod.get("status") or {}).get("conditions") or []
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def _namespace(options: Options) -> str:
    return options.namespace or namespace_of(files_of(options.kubeconfig), options.context)


async def _connect(options: Options) -> Kube:
    return await Kube.connect(Path(options.kubeconfig) if options.kubeconfig else None, context=options.context)


# -- by a URL


class _Direct:
    def __init__(self, url: str, login: Login, ca_file: str | None, proxies: bool) -> None:
        self._made: dict[str, Any] = {"url": url, "login": login, "verify": trusting(ca_file), "proxies": proxies}
        self._client: httpx.Client | None = None

    def open(self) -> httpx.Client:
        self.close()
        self._client = _client(**self._made)
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _by_url(options: Options) -> _Direct:
    url = options.url or ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in {"http", "https"} or not host or parts.path not in {"", "/"} or parts.query:
        raise Trouble("--url is https://HOST:1099, without a path")
    if parts.username is not None or parts.password is not None:
        raise Trouble("--url holds a login, which others can read there: give --adminuser, and --adminpass-file")
    if parts.scheme == "http" and host not in LOOPBACK and not host.startswith("127."):
        raise Trouble("--url is http, over which passwords could be read: use https")
    login = _login(options) or ask(_find(options), without=WITHOUT).login
    return _Direct(url, login, options.ca_file, host not in LOOPBACK)


def _login(options: Options) -> Login | None:
    """The one that is given; None where the cluster is to be asked for it."""
    if options.adminuser is None:
        return None
    if options.adminpass_file is not None:
        try:
            text = Path(options.adminpass_file).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no text in UTF-8"
            raise Trouble(f"{options.adminpass_file} cannot be read: {reason}") from None
        return Login(options.adminuser, text.rstrip("\r\n"))
    if not sys.stdin.isatty():
        raise Trouble("the endpoint's password is not known: give --adminpass-file")
    return Login(options.adminuser, getpass.getpass(f"Password of {options.adminuser} at the endpoint: "))


def _client(url: str, login: Login, verify: Any, proxies: bool) -> httpx.Client:
    return httpx.Client(
        base_url=url,
        auth=httpx.BasicAuth(login.name.encode(), login.password.encode()),
        verify=verify,
        timeout=TIMEOUTS,
        limits=LIMITS,
        trust_env=proxies,
        follow_redirects=False,
    )
