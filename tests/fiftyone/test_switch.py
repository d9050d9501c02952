"""Switching the adapter on: by the environment, by FiftyOne's settings, by an import; or not at all."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.commands import COMMAND

# Importing FiftyOne takes seconds, and on a busy machine many.
pytestmark = pytest.mark.timeout(900)

REPOSITORY = Path(__file__).resolve().parents[2]
URI = "s3://bucket/photo.jpg"
SHOW = f"import fiftyone as fo; print(fo.Sample(filepath={URI!r}).filepath)"

INSTALLED = metadata.version("fiftyone")
REMEDY = "Install a supported version: pip install 'forebay[fiftyone]'; or run: forebay fiftyone disable"
MISSING = (
    f"Forebay's adapter does not fit FiftyOne {INSTALLED}, which has no fiftyone.core.storage.isabs; "
    "supported is FiftyOne 1.10 to 1.22. FiftyOne stays as it is, without cloud media. " + REMEDY
)
OUTSIDE = (
    "Forebay's adapter is for FiftyOne 1.10 to 1.22, and FiftyOne {} is installed. "
    "FiftyOne stays as it is, without cloud media. " + REMEDY
)
NOT_INSTALLED = "FiftyOne is not installed; run: pip install 'forebay[fiftyone]'"


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing switches the adapter on; gives FiftyOne's configuration file, which does not exist."""
    monkeypatch.delenv("FIFTYONE_MODULE_PATH")
    config = tmp_path / "fiftyone.json"
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(config))
    return config


def run(*command: str, **environment: str) -> tuple[int, str, str]:
    """Runs a command; returns its status, stdout and stderr."""
    done = subprocess.run(
        command, check=False, env=os.environ | environment, capture_output=True, text=True, timeout=400
    )
    return done.returncode, done.stdout, done.stderr


def python(code: str, **environment: str) -> str:
    """Runs code in a new Python; returns its stdout."""
    status, out, errors = run(sys.executable, "-c", code, **environment)
    assert status == 0, errors
    return out.strip()


def command(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """As `run`, for ``forebay fiftyone``."""
    return run(COMMAND, "fiftyone", *arguments, **environment)


class TestOn:
    def test_without_it_fiftyone_is_as_it_is(self, off: Path) -> None:
        assert python(SHOW) == f"{Path.cwd()}/s3:/bucket/photo.jpg"

    def test_by_the_environment(self, off: Path) -> None:
        assert python(SHOW, FIFTYONE_MODULE_PATH="forebay.fiftyone") == URI

    def test_by_fiftyones_own_settings(self, off: Path) -> None:
        assert command("enable") == (0, "", f"{off} now names forebay.fiftyone\n")
        assert python(SHOW) == URI

        assert command("disable") == (0, "", f"{off} no longer names forebay.fiftyone\n")
        assert python(SHOW) != URI

    def test_by_an_import_before_fiftyones(self, off: Path) -> None:
        code = "import forebay.fiftyone, sys; assert not {'fiftyone', 'eta'} & sys.modules.keys()"
        assert python(f"{code}; {SHOW}") == URI

    def test_by_an_import_after_fiftyones(self, off: Path) -> None:
        assert python(f"import fiftyone; import forebay.fiftyone; {SHOW}") == URI

    def test_after_fiftyone_every_copy_of_a_name_is_replaced(self, off: Path) -> None:
        # Given everything that the adapter hooks,
        hooked = json.loads(
            python(
                "import forebay.fiftyone, json; from forebay.fiftyone import hooks, version_differences;"
                f"fitting = version_differences.fitting(hooks.declared(), {INSTALLED!r});"
                "print(json.dumps([(h.module, h.symbol) for h in fitting if not h.new]))"
            )
        )
        assert hooked
        # when it is switched on where all of that has been imported, with the copies that FiftyOne's
        # modules make of each other's names, then nothing of it is left.
        left = python(
            "import importlib, functools, json, sys\n"
            f"sys.path.append({str(REPOSITORY)!r})\n"
            "from tests.fiftyone import torchvision_operators\n"
            "torchvision_operators.declare()\n"
            "import fiftyone\n"
            f"hooked = {hooked!r}\n"
            "def value(module, symbol):\n"
            "    *classes, name = symbol.split('.')\n"
            "    return vars(functools.reduce(getattr, classes, module)).get(name)\n"
            "before = {}\n"
            "for module, symbol in hooked:\n"
            "    before[f'{module}.{symbol}'] = value(importlib.import_module(module), symbol)\n"
            "import forebay.fiftyone\n"
            "left = [f'{m}.{s}' for m, s in hooked if value(sys.modules[m], s) is before[f'{m}.{s}']]\n"
            "olds = {id(v): name for name, v in before.items() if callable(v)}\n"
            "for name, module in list(sys.modules.items()):\n"
            "    if name.partition('.')[0] in ('fiftyone', 'eta'):\n"
            "        left += [f'{name}.{k}' for k, v in vars(module).items() if id(v) in olds]\n"
            "print(json.dumps(left))\n"
        )
        assert json.loads(left) == []

    def test_after_fiftyone_its_modules_keep_what_they_import_from_elsewhere(self, off: Path) -> None:
        code = (
            "import os, sys, fiftyone, forebay.fiftyone\n"
            "from forebay.fiftyone import hooks\n"
            "hooked = {hook.module for hook in hooks.declared() if hook.symbol == 'os'}\n"
            "of_fiftyone = {n: m for n, m in sys.modules.items() if n.startswith('fiftyone.')}\n"
            "print({n for n, m in of_fiftyone.items() if vars(m).get('os', os) is not os} - hooked)\n"
        )
        assert python(code) == "set()"

    @pytest.mark.parametrize("start", ["subprocess.run([sys.executable, '-c', code])", "spawn(code)"])
    def test_it_reaches_other_processes(self, off: Path, start: str) -> None:
        script = off.with_name("script.py")
        script.write_text(
            "import multiprocessing, subprocess, sys\n"
            f"code = {SHOW!r}\n"
            "def spawn(code):\n"
            "    process = multiprocessing.get_context('spawn').Process(target=exec, args=(code,))\n"
            "    process.start()\n"
            "    process.join()\n"
            "if __name__ == '__main__':\n"
            "    import forebay.fiftyone\n"
            f"    {start}\n"
        )
        assert python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')") == URI

    @pytest.mark.parametrize("in_file", [["other"], ["other", "forebay.fiftyone"]])
    def test_the_users_own_modules_reach_them_too(
        self, off: Path, tmp_path: Path, in_file: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "other.py").write_text("print('the user\\'s module')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        off.write_text(json.dumps({"module_path": in_file}))

        code = f"import forebay.fiftyone, subprocess, sys; subprocess.run([sys.executable, '-c', {SHOW!r}])"

        assert python(code).splitlines() == ["the user's module", URI]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.10.0", {"Media.head"}),
        ("1.15.0", {"Media.head"}),
        ("1.16.0", set()),
        ("1.17.0", set()),
        ("1.18.0", {"get_file_size"}),
        ("1.22.1", {"get_file_size", "open_ranged"}),
    ],
)
def test_what_a_version_lacks_is_not_hooked_there(version: str, expected: set[str]) -> None:
    from forebay.fiftyone.hooks import Hook
    from forebay.fiftyone.version_differences import fitting

    # Given symbols that came, one that went, and one that every version has,
    hooks = [
        Hook("fiftyone.core.storage", "get_file_size", replace=print),
        Hook("fiftyone.core.storage", "open_ranged", replace=print),
        Hook("fiftyone.server.routes.media", "Media.head", replace=print),
        Hook("fiftyone.core.storage", "isabs", replace=print),
    ]
    # then a version's hooks are those whose symbols it has.
    assert {hook.symbol for hook in fitting(hooks, version)} == expected | {"isabs"}


class TestThatItDoesNotFit:
    @pytest.fixture
    def _other_fiftyone(self, off: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A FiftyOne that works, whose `isabs` the adapter cannot find."""
        package = importlib.util.find_spec("fiftyone")
        assert package is not None and package.origin is not None
        original, other = Path(package.origin).parent, tmp_path / "other" / "fiftyone"
        for folder in (original, original / "core"):
            copy = other / folder.relative_to(original)
            copy.mkdir(parents=True)
            for entry in folder.iterdir():
                if entry.name not in ("core", "storage.py", "__pycache__"):
                    (copy / entry.name).symlink_to(entry)
        source = (original / "core" / "storage.py").read_text()
        assert source.count("def isabs(") == 1
        source = (
            source.replace("def isabs(", "def is_absolute(") + "\nglobals()['is' + 'abs'] = is_absolute\n"
        )
        (other / "core" / "storage.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(other.parent), prepend=os.pathsep)

    @pytest.mark.usefixtures("_other_fiftyone")
    def test_the_import_fails_and_names_the_symbol_and_the_versions(self) -> None:
        code = f"try:\n    import forebay.fiftyone\nexcept ImportError as error:\n    print(error)\n{SHOW}"

        error, path = python(code).splitlines()

        assert error == MISSING
        assert path == f"{Path.cwd()}/s3:/bucket/photo.jpg"

    @pytest.mark.usefixtures("_other_fiftyone")
    def test_fiftyone_says_so_and_works_as_it_was(self) -> None:
        status, out, errors = run(sys.executable, "-c", SHOW, FIFTYONE_MODULE_PATH="forebay.fiftyone")

        assert status == 0
        assert out == f"{Path.cwd()}/s3:/bucket/photo.jpg\n"
        assert f"Failed to import fiftyone.config.module_path[0]: {MISSING}\n" in errors

    @pytest.mark.usefixtures("_other_fiftyone")
    def test_the_command_says_so(self, off: Path) -> None:
        assert command("enable") == (0, "", f"{off} now names forebay.fiftyone\nwarning: {MISSING}\n")
        assert command("status") == (
            1,
            f"enabled   yes, by {off}\nFiftyOne  {INSTALLED}\nadapter   {MISSING}\n",
            "",
        )


def pretend(monkeypatch: pytest.MonkeyPatch, directory: Path, version: str | None) -> None:
    """Lets this test's processes see FiftyOne as of another version, or as not installed."""
    answer = "raise metadata.PackageNotFoundError(name)" if version is None else f"return {version!r}"
    (directory / "sitecustomize.py").write_text(
        "from importlib import metadata\n"
        "known = metadata.version\n"
        "def version(name):\n"
        "    if name == 'fiftyone':\n"
        f"        {answer}\n"
        "    return known(name)\n"
        "metadata.version = version\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(directory), prepend=os.pathsep)


@pytest.mark.parametrize("version", ["1.9.0", "1.23.0", "0.25.2", "2.0.0"])
class TestThatTheVersionIsOutsideOfTheRange:
    @pytest.fixture(autouse=True)
    def _other_version(
        self, off: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
    ) -> None:
        pretend(monkeypatch, tmp_path, version)

    def test_the_import_is_refused_with_the_range_and_a_remedy(self, off: Path, version: str) -> None:
        code = "import forebay\ntry:\n    import forebay.fiftyone\nexcept forebay.ForebayError as error:\n"
        said = python(
            f"{code}    print(error, error.version, isinstance(error, ImportError), sep='|')\n{SHOW}"
        )
        assert said.splitlines() == [
            f"{OUTSIDE.format(version)}|{version}|True",
            f"{Path.cwd()}/s3:/bucket/photo.jpg",
        ]

    def test_fiftyone_says_so_and_works_as_it_was(self, off: Path, version: str) -> None:
        status, out, errors = run(sys.executable, "-c", SHOW, FIFTYONE_MODULE_PATH="forebay.fiftyone")

        assert (status, out) == (0, f"{Path.cwd()}/s3:/bucket/photo.jpg\n")
        assert f"Failed to import fiftyone.config.module_path[0]: {OUTSIDE.format(version)}\n" in errors

    def test_the_commands_say_so(self, off: Path, tmp_path: Path, version: str) -> None:
        refusal = OUTSIDE.format(version)
        cache = {"FIFTYONE_MEDIA_CACHE_DIR": str(tmp_path / "cache")}

        # When nothing switches the adapter on, then the check-up only warns.
        status, out, _ = run(COMMAND, "doctor", "--json", **cache)
        assert (status, doctor(out)) == (0, ("warning", refusal))

        # When the adapter is enabled, then that is said, and the check-up fails.
        assert command("enable") == (0, "", f"{off} now names forebay.fiftyone\nwarning: {refusal}\n")
        said = f"enabled   yes, by {off}\nFiftyOne  {version}\nadapter   {refusal}\n"
        assert command("status") == (1, said, "")
        status, out, _ = run(COMMAND, "doctor", "--json", **cache)
        assert (status, doctor(out)) == (1, ("wrong", refusal))


def doctor(output: str) -> tuple[str, str] | None:
    """What ``forebay doctor --json`` says of FiftyOne: state and message."""
    found = {finding["name"]: finding for finding in json.loads(output)}
    return (found["fiftyone"]["state"], found["fiftyone"]["message"]) if "fiftyone" in found else None


def test_the_check_up_says_nothing_of_a_fiftyone_that_fits(off: Path, tmp_path: Path) -> None:
    status, out, _ = run(COMMAND, "doctor", "--json", FIFTYONE_MEDIA_CACHE_DIR=str(tmp_path / "cache"))
    assert (status, doctor(out)) == (0, None)


class TestThatFiftyOneIsNotInstalled:
    @pytest.fixture(autouse=True)
    def _not_installed(self, off: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend(monkeypatch, tmp_path, None)

    def test_the_import_tells_how_to_install_it(self) -> None:
        code = "try:\n    import forebay.fiftyone\nexcept ImportError as error:\n    print(error)"
        assert python(code) == NOT_INSTALLED

    def test_so_does_the_command(self, off: Path) -> None:
        assert command("status")[:2] == (
            0,
            "enabled   no; run: forebay fiftyone enable\n"
            f"FiftyOne  not installed\nadapter   {NOT_INSTALLED}\n",
        )
        assert command("enable")[2] == f"{off} now names forebay.fiftyone\nwarning: {NOT_INSTALLED}\n"
        assert command("status", "--json")[0] == 1


class TestTheStatus:
    @pytest.mark.parametrize(
        ("variable", "in_file", "said"),
        [
            (None, [], "no; run: forebay fiftyone enable"),
            (None, ["forebay.fiftyone"], "yes, by {file}"),
            ("mine:forebay.fiftyone", [], "yes, by FIFTYONE_MODULE_PATH"),
            ("mine", ["forebay.fiftyone"], "no: FIFTYONE_MODULE_PATH does not name it, and wins over {file}"),
        ],
    )
    def test_it_says_what_switches_the_adapter_on(
        self,
        off: Path,
        variable: str | None,
        in_file: list[str],
        said: str,
    ) -> None:
        off.write_text(json.dumps({"module_path": in_file}))
        environment = {} if variable is None else {"FIFTYONE_MODULE_PATH": variable}

        status, out, _ = command("status", **environment)

        assert status == 0
        assert out == f"enabled   {said.format(file=off)}\nFiftyOne  {INSTALLED}\nadapter   fits\n"
        assert command(**environment) == (status, out, "")

    def test_for_programs(self, off: Path) -> None:
        status, out, _ = command("status", "--json", FIFTYONE_MODULE_PATH="forebay.fiftyone")
        assert status == 0
        assert json.loads(out) == {
            "enabled": True,
            "by": "environment",
            "config_path": str(off),
            "fiftyone": INSTALLED,
            "fits": True,
            "problem": None,
        }
