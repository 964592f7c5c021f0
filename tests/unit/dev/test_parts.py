"""The pure parts of dev/: what it writes for other programs and how it decides."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from cryptography import x509

from dev.cluster import network, node, pki, preflight, providers, state
from dev.cluster.launch import start_time
from dev.images import archive, debian, project
from dev.images import image as images
from dev.processes import memory
from dev.processes.errors import DevError
from dev.programs import binaries, cache, golang


@pytest.mark.parametrize(
    ("variable", "named", "chosen"),
    [
        (None, None, "native"),
        ("", None, "native"),
        ("native", None, "native"),
        (None, "kind-one", "current"),
        ("current", "kind-one", "current"),
    ],
)
def test_a_cluster_of_the_users_is_taken_when_it_is_named(variable: str | None, named: str | None, chosen: str) -> None:
    environment = {} if variable is None else {"MAILPUSH_DEV_PROVIDER": variable}
    assert providers.provider(named, environment) == chosen


@pytest.mark.parametrize(
    ("variable", "named", "says"),
    [
        ("current", None, "add --context NAME"),
        ("native", "kind-one", "take one of them away"),
        ("kind", None, "may be native or current"),
    ],
)
def test_a_cluster_that_is_not_named_is_never_touched(variable: str, named: str | None, says: str) -> None:
    with pytest.raises(DevError, match=says):
        providers.provider(named, {"MAILPUSH_DEV_PROVIDER": variable})


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("go version go1.26.8 linux/amd64\n", (1, 26)),
        ("go version go1.9 linux/amd64", (1, 9)),
        ("go version devel go1.28-abc linux/amd64", (1, 28)),
        ("", None),
    ],
)
def test_an_old_go_is_told_from_a_new_one(printed: str, version: tuple[int, int] | None) -> None:
    assert golang.version_of(printed) == version


def test_the_name_of_the_binaries_changes_with_their_source(tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text("package main\n")
    (tmp_path / "go.sum").write_text("a h1:1=\n")
    first = golang.source_hash(tmp_path)
    (tmp_path / "README.md").write_text("not compiled")
    assert golang.source_hash(tmp_path) == first
    (tmp_path / "go.sum").write_text("a h1:2=\n")
    assert golang.source_hash(tmp_path) != first


def test_the_module_builds_the_kubernetes_that_it_says() -> None:
    assert f"k8s.io/kubernetes v{golang.KUBERNETES}" in (golang.MODULE / "go.mod").read_text()
    assert set(binaries.NAMES) == {"kube", "coredns", "kubectl", "helm4", "helm3"}


def test_everything_that_is_missing_is_said_at_once() -> None:
    findings = [
        preflight.Finding("memory", "3 GB must be available, 1.0 GB are"),
        preflight.Finding("disk"),
        preflight.Finding("rights", "nodes need root"),
    ]
    with pytest.raises(DevError) as caught:
        preflight.demand(findings)
    assert "memory: 3 GB" in str(caught.value)
    assert "rights: nodes need root" in str(caught.value)
    assert "disk" not in str(caught.value)
    preflight.demand([preflight.Finding("disk")])


def test_available_memory_is_read_in_bytes() -> None:
    assert memory.bytes_available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n") == 2 * 1024**2
    assert memory.bytes_available("") == 0


def test_the_context_is_just_what_the_dockerfile_copies(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for name in ("requirements.txt", "operator/a/b.py", "operator/__pycache__/b.pyc", "docs/no.md", "wheelhouse/x.whl"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(name)
    (repository / "Dockerfile").write_text(
        "FROM x AS build\nCOPY requirements.txt \\\n  missing.txt ./\nCOPY --chown=1:1 operator/ operator/\n"
        "COPY wheelhouse/ wheelhouse/\nFROM y\nCOPY --from=build /opt /opt\n"
    )
    project.copy_context(repository, tmp_path / "context")
    found = {
        str(path.relative_to(tmp_path / "context")) for path in (tmp_path / "context").rglob("*") if path.is_file()
    }
    assert found == {"Dockerfile", "requirements.txt", "operator/a/b.py"}
    assert (tmp_path / "context" / "wheelhouse").is_dir(), "COPY of a folder that is not there fails the build"


def test_a_locks_markers_are_asked_of_the_images_python() -> None:
    lock = (
        "# made by hand\n"
        "old==1 ; python_full_version < '3.11.3' \\\n    --hash=sha256:aa\n"
        "windows==2 ; sys_platform == 'win32' \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
        "plain[extra]==3 \\\n    --hash=sha256:dd\n    # via something\n"
    )
    kept = project.for_image(lock).splitlines()
    assert "old==1 \\" in kept
    assert "plain[extra]==3 \\" in kept
    assert not any("bb" in line or "cc" in line or "windows" in line for line in kept)
    assert sum("--hash" in line for line in kept) == 2


def test_an_images_archive_names_its_layer_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"\x7fELF")
    archive.layer_of({"/bin/program": tmp_path / "program"}, tmp_path / "layer.tar")
    archive.write(tmp_path / "a.tar", "docker.io/mail-push/x:1", tmp_path / "layer.tar", entrypoint=("/bin/program",))
    with tarfile.open(tmp_path / "a.tar") as opened:
        members = {name: opened.extractfile(name) for name in opened.getnames()}
        contents = {name: member.read() for name, member in members.items() if member}
    (manifest,) = json.loads(contents["manifest.json"])
    assert manifest["RepoTags"] == ["docker.io/mail-push/x:1"]
    config = json.loads(contents[manifest["Config"]])
    layer = contents[manifest["Layers"][0]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as inner:
        assert inner.getmember("bin/program").mode == 0o755


def test_an_image_has_a_repository_and_a_tag() -> None:
    image = images.Image("docker.io/mail-push/testbed:abc", Path("x"))
    assert (image.repository, image.tag) == ("docker.io/mail-push/testbed", "abc")
    assert cache.hash_of(b"ab", b"c") != cache.hash_of(b"a", b"bc")


def test_the_nodes_have_ranges_and_addresses_of_their_own() -> None:
    assert network.address(1) != network.address(2)
    assert json.loads(node.cni_config(2))["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.2.0/24"}]]
    assert [network.node_number(name) for name in ("node1", "2")] == [1, 2]
    with pytest.raises(DevError, match="node1 and node2"):
        network.node_number("node3")


def test_all_that_containerd_writes_is_below_folders_of_ours() -> None:
    paths = [line.split('"')[1] for line in node.containerd_config(1).splitlines() if ' = "/' in line]
    ours = [path for path in paths if path != "/usr/lib/cni"]
    assert ours
    assert all(Path(path).is_relative_to(state.FOLDER) or Path(path).is_relative_to(state.SOCKETS) for path in ours)


def test_a_certificate_is_for_the_names_it_was_asked_for() -> None:
    authority = pki.Authority.new("test")
    pair = authority.issue("server", organization="group", names=("127.0.0.1", "example.org"))
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pair.certificate))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["example.org"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert "PRIVATE" not in repr(pair)


def test_a_process_is_known_by_its_start_time_too() -> None:
    started = start_time(os.getpid())
    assert state.is_running(os.getpid(), started)
    assert not state.is_running(os.getpid(), str(int(started) - 1)), "another process that got the same pid"
    assert not state.is_running(0, started)


@pytest.mark.parametrize(
    ("targets", "mirror"),
    [
        ("Other\tOther\thttp://one/\nDebian\tDebian-Security\thttp://two/\nDebian\tDebian\thttp://three/\n", ["three"]),
        ("Debian\tDebian\thttp://one/\nDebian\tDebian\thttp://two/\n", ["one"]),
        ("", []),
    ],
)
def test_a_debian_comes_from_the_mirror_that_apt_has(
    monkeypatch: pytest.MonkeyPatch, targets: str, mirror: list[str]
) -> None:
    argv: list[object] = []
    monkeypatch.setattr("dev.programs.packages.ensure", lambda *_: None)
    monkeypatch.setattr("dev.processes.run.quiet", lambda *_, **__: subprocess.CompletedProcess([], 0, targets, ""))
    monkeypatch.setattr("dev.processes.run.talkative", lambda _what, *given, **_: argv.extend(given))
    debian.bootstrap(Path("root"), "trixie", ["dovecot-imapd"])
    assert argv[argv.index("trixie") :] == ["trixie", Path("root"), *(f"http://{name}/" for name in mirror)]
