"""The public names: all errors and types of public calls are in `forebay`, and documented on one page."""

from __future__ import annotations

import inspect
import pickle
import re
import subprocess
import sys
import traceback
import typing
from importlib import import_module
from pathlib import Path

import pytest

import forebay
from forebay import errors

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "api.md").read_text()
# The operations of the default cache, and what is neither operation nor type.
OPERATIONS = sorted(
    name for name in forebay.__all__ if name.islower() and name not in ("media_cache", "__version__")
)
TYPES = sorted(set(forebay.__all__) - set(OPERATIONS) - {"media_cache", "__version__"})
ERRORS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.ForebayError)
]
# Types of the page that are of one of its sections only: in a package of their own.
OF_CVAT = {"CvatServer", "ManifestReport", "create_manifest", "create_video_manifest", "attach"}
# Not imported here: the extra may be missing.
OF_TORCH = {"MediaDataset", "MediaSampler", "TarShards"}
OF_AIO = {name for name in forebay.aio.__all__ if not name.islower()}


def documented() -> dict[str, str]:
    """The types on the page about the API: their modules, by name."""
    found = re.findall(r"^::: (forebay[\w.]*)\.(\w+)$", PAGE, re.MULTILINE)
    modules = {name: module for module, name in found if name != "errors"}
    return {**modules, **{kind.__name__: "forebay.errors" for kind in ERRORS}}


def public_methods(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_the_page_and_the_package_have_the_same_types() -> None:
    assert documented().keys() - OF_CVAT - OF_TORCH - OF_AIO == set(TYPES)
    assert documented().keys() >= OF_AIO


@pytest.mark.parametrize("name", TYPES)
def test_a_type_is_the_one_of_its_module(name: str) -> None:
    assert getattr(forebay, name) is getattr(import_module(documented()[name]), name)


@pytest.mark.parametrize("name", sorted(OF_AIO))
def test_a_type_for_coroutines_is_the_one_of_its_module(name: str) -> None:
    assert getattr(forebay.aio, name) is getattr(import_module(documented()[name]), name)


def test_the_operations_for_coroutines_have_the_names_and_arguments_of_the_others() -> None:
    operations = public_methods(forebay.aio.AsyncMediaCache)

    assert operations == {name for name in forebay.aio.__all__ if name.islower()} - {"media_cache"}
    # A read cannot be awaited, so that an object is opened as a whole only.
    for name in operations - {"open"}:
        there, here = (
            inspect.signature(getattr(kind, name)).parameters
            for kind in (forebay.MediaCache, forebay.aio.AsyncMediaCache)
        )
        assert list(here.values()) == list(there.values())
        assert getattr(forebay.aio, name) == getattr(forebay.aio.media_cache, name)


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_is_named_as_programs_name_it(kind: type[errors.ForebayError]) -> None:
    assert getattr(forebay, kind.__name__) is kind
    assert repr(kind) == f"<class 'forebay.{kind.__name__}'>"


def test_a_traceback_names_an_error_as_programs_do() -> None:
    error = forebay.ObjectNotFoundError("s3://photos/a.jpg", "the bucket has no such object")

    shown = traceback.format_exception_only(error)

    assert shown == ["forebay.ObjectNotFoundError: s3://photos/a.jpg: the bucket has no such object\n"]
    assert type(pickle.loads(pickle.dumps(error))) is type(error)


def test_a_process_that_has_imported_nothing_unpickles_an_error() -> None:
    pickled = pickle.dumps(forebay.CacheFullError("full", needed=5))

    code = f"import pickle; error = pickle.loads({pickled!r}); print(repr(error), error.needed)"

    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown == "CacheFullError('full') 5\n"


@pytest.mark.parametrize("name", [name for name in TYPES if inspect.isclass(getattr(forebay, name))])
def test_tools_find_annotations_and_source_of_a_type(name: str) -> None:
    kind = getattr(forebay, name)
    typing.get_type_hints(kind)
    if kind not in ERRORS:
        assert inspect.getsource(kind).partition("\nclass ")[0] != ""


def test_every_operation_of_a_cache_is_a_function_of_the_package() -> None:
    # `jobs` is a package inside this one, and `close` has no use there
    assert public_methods(forebay.MediaCache) - {"jobs", "close"} == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_the_method_of_the_default_cache(name: str) -> None:
    assert getattr(forebay, name) == getattr(forebay.media_cache, name)


def test_no_public_name_is_also_that_of_a_module() -> None:
    root = REPOSITORY / "api" / "forebay"
    modules = {path.stem for path in root.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert modules & set(forebay.__all__) == set()


def signatures() -> list[tuple[str, object]]:
    """Every annotation of the public functions: where, and which."""
    public = {name: getattr(forebay, name) for name in TYPES}
    found = []
    for name, kind in public.items():
        if not inspect.isclass(kind):
            continue
        for method, function in inspect.getmembers(kind, inspect.isfunction):
            if method.startswith("_") or not function.__module__.startswith("forebay"):
                continue
            # Modules import types for type checkers only where a hit would wait for the import.
            hints = typing.get_type_hints(function, {**public, **inspect.unwrap(function).__globals__})
            found += [(f"{name}.{method}: {argument}", hint) for argument, hint in hints.items()]
        for attribute, value in inspect.getmembers(kind, lambda value: isinstance(value, property)):
            found.append((f"{name}.{attribute}", typing.get_type_hints(value.fget).get("return")))
    return found


def classes(hint: object) -> set[type]:
    """The classes of Forebay that an annotation names."""
    arguments = [part for one in typing.get_args(hint) for part in (one if isinstance(one, list) else [one])]
    own = {hint} if isinstance(hint, type) and hint.__module__.startswith("forebay") else set()
    return own.union(*map(classes, arguments))


def test_every_type_that_a_public_call_takes_or_returns_is_public() -> None:
    public = {getattr(forebay, name) for name in TYPES if inspect.isclass(getattr(forebay, name))}
    found = signatures()

    assert len(found) > 100
    assert [where for where, hint in found if classes(hint) - public] == []
