"""Which kubeconfig counts, and what is said where there is none."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from mailpush.cli.kubectl.kubeconfig import files_of, namespace_of
from mailpush.cli.kubectl.main import main


@pytest.mark.parametrize("arguments", [["render", "main"], ["explain", "1", "3"]])
def test_a_kubeconfig_that_is_not_there_is_named(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    command = f"kubectl mailpush {arguments[0]}: there is no kubeconfig"
    more = ": see --kubeconfig, or read files with -f\n"
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stderr) == (2, f"{command} {tmp_path}/.kube/config{more}")
    done = CliRunner().invoke(main, [*arguments, "--kubeconfig", "/nowhere"])
    assert (done.exit_code, done.stderr) == (2, f"{command} /nowhere{more}")
    monkeypatch.setenv("KUBECONFIG", "/nowhere:/neither")
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stderr) == (2, f"{command} /nowhere:/neither, which KUBECONFIG names{more}")


def test_of_several_kubeconfigs_the_first_that_says_something_counts(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("current-context: b\n")
    two.write_text(
        "current-context: a\ncontexts: [{name: a, context: {namespace: x}}, {name: b, context: {namespace: y}}]\n"
    )
    files = files_of(None, {"KUBECONFIG": f"{tmp_path}/none:{one}:{two}"})
    assert [namespace_of(files), namespace_of(files, "a"), namespace_of(files, "c")] == ["y", "x", "default"]
