"""Command lines of Kubernetes' own programs, shared by both modes of the local cluster."""

from dataclasses import dataclass
from pathlib import Path

from dev.cluster import kubeconfig, pki

SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
PODS = "10.244.0.0/16"

KUBERNETES_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
)


@dataclass(frozen=True)
class Keys:
    """The folder with a cluster's keys and certificates, and its authority."""

    folder: Path
    authority: pki.Authority

    @classmethod
    def new(cls, folder: Path, server_names: tuple[str, ...]) -> "Keys":
        """Makes the authority, the API server's certificate and the service accounts' key."""
        folder.mkdir(mode=0o700)
        keys = cls(folder, pki.Authority.new("mail-push dev"))
        keys.write("ca", keys.authority.pair)
        keys.write(
            "apiserver", keys.authority.issue("kube-apiserver", names=(*server_names, FIRST_SERVICE, *KUBERNETES_NAMES))
        )
        keys.client("kubelet-client", "kube-apiserver", "system:masters")
        keys.write("sa", pki.signing_pair())
        return keys

    def client(self, name: str, user: str, group: str | None = None, names: tuple[str, ...] = ()) -> pki.Pair:
        """A client certificate for `user`, also written as `<name>.crt` and `<name>.key`."""
        pair = self.authority.issue(user, organization=group, names=names)
        self.write(name, pair)
        return pair

    def kubeconfig(self, name: str, server: str, user: str, group: str | None = None) -> Path:
        """`<name>.conf` with a client certificate for `user`."""
        text = kubeconfig.with_certificate(server, self.authority.pair.certificate, self.client(name, user, group))
        return kubeconfig.write(self.folder / f"{name}.conf", text)

    def write(self, name: str, pair: pki.Pair) -> None:
        (self.folder / f"{name}.crt").write_bytes(pair.certificate)
        key = self.folder / f"{name}.key"
        key.touch(mode=0o600)
        key.write_bytes(pair.key)


def etcd(data: Path, client: str, peer: str) -> list[str]:
    """etcd without fsync: what it holds is not to survive the machine. `client` and `peer` are URLs."""
    return [
        "etcd",
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--logger=zap",
        "--log-level=warn",
    ]


def api_server(keys: Keys, etcd_url: str, bind: str, port: int) -> list[str]:
    """The API server with RBAC, service accounts and the kubelets' client certificate."""
    pki_folder = keys.folder
    return [
        "kube-apiserver",
        f"--etcd-servers={etcd_url}",
        f"--bind-address={bind}",
        f"--secure-port={port}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--client-ca-file={pki_folder}/ca.crt",
        f"--tls-cert-file={pki_folder}/apiserver.crt",
        f"--tls-private-key-file={pki_folder}/apiserver.key",
        f"--kubelet-client-certificate={pki_folder}/kubelet-client.crt",
        f"--kubelet-client-key={pki_folder}/kubelet-client.key",
        f"--kubelet-certificate-authority={pki_folder}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={pki_folder}/sa.crt",
        f"--service-account-signing-key-file={pki_folder}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--profiling=false",
    ]


def controller_manager(keys: Keys, config: Path, bind: str, port: int) -> list[str]:
    """All controllers, each with its own service account; quick, for tests wait for what they do."""
    pki_folder = keys.folder
    return [
        "kube-controller-manager",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--service-account-private-key-file={pki_folder}/sa.key",
        f"--root-ca-file={pki_folder}/ca.crt",
        "--use-service-account-credentials",
        "--leader-elect=false",
        f"--bind-address={bind}",
        f"--secure-port={port}",
        f"--cluster-cidr={PODS}",
        "--allocate-node-cidrs=false",
        f"--cluster-signing-cert-file={pki_folder}/ca.crt",
        f"--cluster-signing-key-file={pki_folder}/ca.key",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--profiling=false",
    ]


def scheduler(config: Path, bind: str, port: int) -> list[str]:
    return [
        "kube-scheduler",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--leader-elect=false",
        f"--bind-address={bind}",
        f"--secure-port={port}",
        "--profiling=false",
    ]
