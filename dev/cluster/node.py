"""One node: containerd, kubelet and kube-proxy in the node's network namespace, with everything in folders of ours."""

import json
import shutil
from pathlib import Path
from socket import AF_UNIX
from socket import socket as stream_socket

from dev.cluster import cgroups, commands, network, state
from dev.cluster.commands import Keys
from dev.processes import memory, run
from dev.programs import binaries

PAUSE = "docker.io/mail-push/pause:1"
CLUSTER_DNS = "10.96.0.10"

_IMAGES = 4 * 2**30  # bytes at most for a node's images and what its containers write
_PLENTY = 12 * 2**30  # of memory available, in bytes, to keep them there


def name(node: int) -> str:
    return f"node{node}"


def folder(node: int) -> Path:
    return state.FOLDER / name(node)


def socket(node: int) -> Path:
    return state.SOCKETS / f"{name(node)}.sock"


def start_runtime(node: int) -> None:
    """containerd; images can be imported as soon as `runtime_answers`."""
    place = folder(node)
    (place / "cni").mkdir(parents=True)
    (place / "containerd").mkdir()
    if memory.available() >= _PLENTY:
        # Two copies of each image a node: writing and removing them on a slow disk takes minutes.
        run.quiet("mount", "-t", "tmpfs", "-o", f"mode=0711,size={_IMAGES}", "mail-push-dev", place / "containerd")
    state.SOCKETS.mkdir(mode=0o700, exist_ok=True)
    (place / "cni" / "10-mail-push.conflist").write_text(cni_config(node))
    (place / "containerd.toml").write_text(containerd_config(node))
    state.start(f"containerd{node}", network.namespace(node), "containerd", "-c", place / "containerd.toml")


def runtime_answers(node: int) -> bool:
    return run.quiet("ctr", "-a", socket(node), "version", check=False).returncode == 0


def start_kubelet(node: int, keys: Keys, server: str) -> None:
    """The kubelet and kube-proxy; the node registers itself."""
    place, kube = folder(node), binaries.path("kube")
    keys.write(f"{name(node)}-serving", keys.authority.issue(name(node), names=(network.address(node), name(node))))
    kubeconfig = keys.kubeconfig(name(node), server, f"system:node:{name(node)}", "system:nodes")
    proxy = keys.kubeconfig(f"proxy{node}", server, "system:kube-proxy")
    cgroups.make(node)
    (place / "kubelet.json").write_text(kubelet_config(node, keys))
    (place / "proxy.json").write_text(proxy_config(node, proxy))
    state.start(
        f"kubelet{node}", network.namespace(node), kube, "kubelet", f"--kubeconfig={kubeconfig}",
        f"--config={place}/kubelet.json", f"--root-dir={place}/kubelet", f"--hostname-override={name(node)}",
        f"--node-ip={network.address(node)}",
    )  # fmt: skip
    state.start(f"proxy{node}", network.namespace(node), kube, "kube-proxy", f"--config={place}/proxy.json")


def import_image(node: int, archive: Path) -> None:
    """Makes the image of a docker archive known to the node's containerd."""
    run.quiet("ctr", "-a", socket(node), "-n", "k8s.io", "images", "import", archive, timeout=600)


def images(node: int) -> list[str]:
    """Names of the node's images."""
    return run.quiet("ctr", "-a", socket(node), "-n", "k8s.io", "images", "list", "-q").stdout.split()


def pod_logs(node: int) -> Path:
    return folder(node) / "logs"


def cni_config(node: int) -> str:
    """A bridge in the node's namespace with the node's pod range; no masquerading, the network is routed."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,  # a pod may reach itself by its Service
        "ipam": {
            "type": "host-local",
            "dataDir": str(folder(node) / "ipam"),
            "ranges": [[{"subnet": network.pods(node)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": "mail-push", "plugins": [bridge, portmap]}, indent=1)


def containerd_config(node: int) -> str:
    """Without AppArmor and oom scores below 0: a root without CAP_SYS_RESOURCE cannot set them."""
    place, state_folder = folder(node), state.SOCKETS / name(node)
    return f"""\
version = 2
root = "{place}/containerd"
state = "{state_folder}"
[grpc]
  address = "{socket(node)}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{place}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  sandbox_image = "{PAUSE}"
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{place}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"""


def kubelet_config(node: int, keys: Keys) -> str:
    place = folder(node)
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": network.address(node),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{keys.folder}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{keys.folder}/{name(node)}-serving.crt",
            "tlsPrivateKeyFile": f"{keys.folder}/{name(node)}-serving.key",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroups.name(node)}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "oomScoreAdj": 0,
            "makeIPTablesUtilChains": False,
            "containerRuntimeEndpoint": f"unix://{socket(node)}",
            "clusterDNS": [CLUSTER_DNS],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "healthzBindAddress": "127.0.0.1",
            "imageGCHighThresholdPercent": 100,  # images cannot be pulled again
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "podLogsDir": str(pod_logs(node)),
            "volumePluginDir": str(place / "volume-plugins"),
            "maxPods": 110,
            "syncFrequency": "10s",
        },
        indent=1,
    )


def proxy_config(node: int, kubeconfig: Path) -> str:
    """nftables, and no conntrack setting at all: those belong to the machine, not to the namespace."""
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "clusterCIDR": commands.PODS,
            "hostnameOverride": name(node),
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        },
        indent=1,
    )


def forget_side_files() -> None:
    """Removes what containerd, CNI and the kubelet left of ours outside the node's folders, where others share it."""
    for path in Path("/var/log/containers").glob("*"):
        if path.is_symlink() and path.readlink().is_relative_to(state.FOLDER):
            path.unlink()
    for path in Path("/var/lib/cni/results").glob("mail-push-*"):
        path.unlink()
    for path in Path("/run/containerd/s").glob("*"):
        if not _listened_on(path):
            path.unlink(missing_ok=True)
    shutil.rmtree(state.SOCKETS, ignore_errors=True)


def _listened_on(path: Path) -> bool:
    with stream_socket(AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
