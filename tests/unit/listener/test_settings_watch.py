"""A configuration is run whole and valid, or the last good one stays."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from mailpush import names
from mailpush.kube.client import Kube
from mailpush.kube.resources import SECRET
from mailpush.listener import settings_watch as module
from mailpush.listener.settings_watch import Loaded, SettingsWatch, load_files, read_directory
from mailpush.properties.hashes import config_hash_of, keyed_hash
from mailpush.properties.read import SettingsError
from mailpush.work.pace import Backoff
from tests.sites.fakekube import FakeKube
from tests.sites.waiting import until
from tests.unit.listener.people import FILES

KEY = b"k" * 32
SECRETS = {names.SECRET_PROPERTIES: FILES[names.SECRET_PROPERTIES]}
PUBLIC = {name: text for name, text in FILES.items() if name not in SECRETS}
BOOT = {names.BOOT_PROPERTIES: "mailpush.redis.url=redis://redis:6379/0\n"}


class Scene:
    def __init__(self) -> None:
        self.kube = FakeKube()
        self.key = KEY
        self.applied: list[Loaded] = []
        self.problems: list[str | None] = []
        self.first = load_files(PUBLIC, BOOT, SECRETS, KEY)
        self.watch = SettingsWatch(
            cast("Kube", self.kube),
            "ns",
            "main",
            BOOT,
            lambda: self.key,
            pod=self,
            current=self.first,
        )

    def apply(self, loaded: Loaded) -> None:
        self.applied.append(loaded)

    def problem(self, reason: str | None) -> None:
        self.problems.append(reason)

    def secret(self, files: dict[str, str]) -> None:
        data = {name: base64.b64encode(text.encode()).decode() for name, text in files.items()}
        self.kube.put(SECRET, {"metadata": {"name": names.secrets_name("main")}, "data": data})

    def config_map(self, files: dict[str, str], secrets: dict[str, str]) -> str:
        config_hash = config_hash_of(files, keyed_hash(secrets, KEY))
        annotations = {names.CONFIG_HASH_ANNOTATION: config_hash}
        self.watch.observe("MODIFIED", {"metadata": {"annotations": annotations}, "data": files})
        return config_hash

    def change(self, text: str) -> str:
        """Another `mail-push.properties`, with the same secrets."""
        self.secret(SECRETS)
        return self.config_map({**PUBLIC, "mail-push.properties": text}, SECRETS)


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(module, "RETRY", Backoff(0.002, 0.002))
    scene = Scene()
    task = asyncio.create_task(scene.watch.run())
    yield scene
    task.cancel()
    await asyncio.wait({task})


async def test_a_new_configuration_is_taken_with_its_secrets_and_what_this_process_booted_with(scene: Scene) -> None:
    secrets = {names.SECRET_PROPERTIES: "com.openexchange.mail.masterPassword=another\n"}
    scene.secret(secrets)
    config_hash = scene.config_map(PUBLIC, secrets)
    await until(lambda: scene.applied)
    loaded = scene.applied[0]
    assert loaded.config_hash == config_hash
    assert loaded.settings.mail is not None
    assert loaded.settings.mail.master_password == "another"
    assert loaded.settings.redis is not None


async def test_the_configuration_that_runs_already_is_left_alone(scene: Scene) -> None:
    scene.secret(SECRETS)
    assert scene.config_map(PUBLIC, SECRETS) == scene.first.config_hash
    scene.change("com.openexchange.push.allowPermanentPush=false\n")
    await until(lambda: scene.applied)
    assert len(scene.applied) == 1


async def test_half_of_a_change_waits_for_the_other_half(scene: Scene) -> None:
    secrets = {names.SECRET_PROPERTIES: "com.openexchange.mail.masterPassword=another\n"}
    scene.secret(SECRETS)
    scene.config_map(PUBLIC, secrets)
    await until(lambda: len(scene.kube.gets) > 3)
    assert scene.applied == []
    scene.secret(secrets)
    await until(lambda: scene.applied)


async def test_an_invalid_one_is_said_once_and_changes_nothing(scene: Scene) -> None:
    scene.change("com.openexchange.push.allowPermanentPush=perhaps\n")
    await until(lambda: scene.problems)
    assert (scene.problems, scene.applied) == ([module.CONFIGURATION_INVALID], [])


async def test_going_back_to_what_runs_ends_the_problem(scene: Scene) -> None:
    scene.change("com.openexchange.push.allowPermanentPush=perhaps\n")
    await until(lambda: scene.problems)
    scene.config_map(PUBLIC, SECRETS)
    await until(lambda: scene.problems[1:] == [None])
    assert scene.applied == []


async def test_a_valid_one_after_an_invalid_one_is_run(scene: Scene) -> None:
    scene.change("com.openexchange.push.allowPermanentPush=perhaps\n")
    await until(lambda: scene.problems)
    scene.change("com.openexchange.push.allowPermanentPush=false\n")
    await until(lambda: scene.applied)
    assert scene.problems[-1] is None
    assert not scene.applied[0].settings.allow_permanent_push


async def test_a_deleted_config_map_changes_nothing(scene: Scene) -> None:
    scene.watch.observe("DELETED", {"metadata": {}})
    scene.change("com.openexchange.push.allowPermanentPush=false\n")
    await until(lambda: scene.applied)
    assert len(scene.applied) == 1


@pytest.mark.parametrize(("text", "expected"), [("true", True), (" TRUE ", True), ("false", False), ("", False)])
def test_that_the_installation_goes_stands_in_a_property(text: str, expected: bool) -> None:
    assert (
        load_files({**PUBLIC, "x.properties": f"mailpush.unregister={text}\n"}, BOOT, SECRETS, KEY).settings.unregister
        is expected
    )
    assert (
        load_files({**PUBLIC, "x.properties": "# mailpush.unregister=true\n"}, BOOT, SECRETS, KEY).settings.unregister
        is False
    )


def test_a_pod_boots_from_its_directory_and_knows_the_hash(tmp_path: Path) -> None:
    for name, text in {**PUBLIC, **BOOT, **SECRETS}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "..data").mkdir()
    loaded, boot = read_directory(tmp_path, KEY)
    assert (loaded, boot) == (load_files(PUBLIC, BOOT, SECRETS, KEY), BOOT)
    assert loaded.config_hash == config_hash_of(PUBLIC, keyed_hash(SECRETS, KEY))


def test_a_problem_names_no_secret(tmp_path: Path) -> None:
    (tmp_path / "mail.properties").write_text("com.openexchange.mail.passwordSource=nowhere\n")
    (tmp_path / names.SECRET_PROPERTIES).write_text(SECRETS[names.SECRET_PROPERTIES])
    with pytest.raises(SettingsError) as caught:
        read_directory(tmp_path, KEY)
    assert "passwordSource" in str(caught.value)
    assert "master-secret" not in str(caught.value)
