"""FiftyOne's own configuration file, and the ``forebay fiftyone`` command that writes it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from forebay.cli import fiftyone_commands as cli
from forebay.cli.main import run
from forebay.config import fiftyone_config
from forebay.errors import ConfigError


@pytest.fixture
def config(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where FiftyOne's configuration is, which does not exist yet."""
    for name in ("FIFTYONE_CONFIG_PATH", "FIFTYONE_MODULE_PATH"):
        monkeypatch.delenv(name, raising=False)
    return clean_environment / ".fiftyone" / "config.json"


def write(config: Path, text: str) -> Path:
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(text)
    return config


def test_it_is_made_where_fiftyone_looks_for_it(config: Path) -> None:
    assert fiftyone_config.enable()

    assert json.loads(config.read_text()) == {"module_path": ["forebay.fiftyone"]}
    assert fiftyone_config.modules() == ["forebay.fiftyone"]
    assert fiftyone_config.disable()
    assert json.loads(config.read_text()) == {}


def test_the_variable_that_names_another_file(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(tmp_path / "mine.json"))

    fiftyone_config.enable()

    assert (tmp_path / "mine.json").exists()
    assert not config.exists()


def test_everything_else_stays(config: Path) -> None:
    before = {"default_app_port": 5151, "module_path": ["my.café"], "plugins_dir": "/plugins"}
    write(config, json.dumps(before)).chmod(0o600)

    fiftyone_config.enable()

    after = json.loads(config.read_text())
    assert after == before | {"module_path": ["my.café", "forebay.fiftyone"]}
    assert list(after) == list(before)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    fiftyone_config.disable()
    assert json.loads(config.read_text()) == before
    assert os.listdir(config.parent) == ["config.json"]


def test_twice_is_once(config: Path) -> None:
    assert fiftyone_config.enable()
    written = config.stat()
    assert not fiftyone_config.enable()
    assert config.stat().st_ino == written.st_ino
    assert fiftyone_config.disable()
    assert not fiftyone_config.disable()


def test_a_link_stays_a_link(config: Path, tmp_path: Path) -> None:
    config.parent.mkdir()
    config.symlink_to(tmp_path / "dotfiles.json")

    fiftyone_config.enable()

    assert config.is_symlink()
    assert fiftyone_config.in_file() == ["forebay.fiftyone"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": ', "{}, the configuration of FiftyOne, is not valid JSON: Expecting value: line 1 column 7 "),
        ("[1]", "{}, the configuration of FiftyOne, must hold a JSON object; fix it first"),
        (
            '{"module_path": "a"}',
            '{}: module_path must be a list of names of modules, not "a"; fix it first',
        ),
        (
            '{"module_path": [1]}',
            "{}: module_path must be a list of names of modules, not [1]; fix it first",
        ),
    ],
)
def test_a_file_that_fiftyone_would_not_understand_is_not_touched(
    config: Path, text: str, message: str
) -> None:
    write(config, text)
    for change in (fiftyone_config.enable, fiftyone_config.disable):
        with pytest.raises(ConfigError) as raised:
            change()
        assert str(raised.value).startswith(message.format(config))
    assert config.read_text() == text


def test_a_file_that_cannot_be_written_is_named(config: Path) -> None:
    config.parent.write_text("not a directory")

    with pytest.raises(ConfigError) as raised:
        fiftyone_config.enable()

    assert str(raised.value) == f"{config}, the configuration of FiftyOne, cannot be read: Not a directory"


def test_the_variable_wins_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(config, '{"module_path": ["a"]}')
    assert fiftyone_config.modules() == ["a"]
    monkeypatch.setenv("FIFTYONE_MODULE_PATH", "b:c.d")
    assert fiftyone_config.modules() == ["b", "c.d"]
    monkeypatch.setenv("FIFTYONE_MODULE_PATH", "")
    assert fiftyone_config.modules() == ["a"]


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def _not_in_this_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whether the adapter fits is found out by loading it; tests/fiftyone does that."""
        monkeypatch.setattr(cli, "_problem", lambda: None)

    def test_enable_and_disable(self, config: Path, capfd: pytest.CaptureFixture[str]) -> None:
        said = []
        for command in ("enable", "enable", "disable", "disable"):
            assert run(["fiftyone", command]) == 0
            said.append(capfd.readouterr().err.splitlines()[0])
        assert said == [
            f"{config} now names forebay.fiftyone",
            f"{config} already names forebay.fiftyone",
            f"{config} no longer names forebay.fiftyone",
            f"{config} does not name forebay.fiftyone",
        ]

    def test_a_variable_that_wins_is_told(
        self, config: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("FIFTYONE_MODULE_PATH", "mine")
        assert run(["fiftyone", "enable"]) == 0
        assert capfd.readouterr().err.splitlines()[1] == (
            "warning: FIFTYONE_MODULE_PATH is set, to mine, and wins over the file; "
            "unset it, or add :forebay.fiftyone to it"
        )
        monkeypatch.setenv("FIFTYONE_MODULE_PATH", "forebay.fiftyone")
        assert run(["fiftyone", "disable"]) == 0
        assert capfd.readouterr().err.splitlines()[1] == (
            "warning: FIFTYONE_MODULE_PATH names forebay.fiftyone, and wins over the file; unset it"
        )

    def test_a_broken_file(self, config: Path, capfd: pytest.CaptureFixture[str]) -> None:
        write(config, "{")
        for command in ("enable", "disable", "status"):
            assert run(["fiftyone", command]) == 2
            assert (
                f"error: {config}, the configuration of FiftyOne, is not valid JSON" in capfd.readouterr().err
            )
