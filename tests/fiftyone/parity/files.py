"""Calls: every function of ``fiftyone.core.storage``, with relative and absolute paths, and with errors."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tests.fiftyone.parity.record import Ground, call

PATHS = (
    "/a/b.jpg",
    "a/b.jpg",
    "./a/../b.jpg",
    "~/a.jpg",
    "",
    ".",
    "a:b.jpg",
    "s3:/a/b",
    "s3:a",
    "file:///a/b",
    "a/s3://b/c",
    "C:\\a\\b",
    "//a//b",
    "a b/ü.jpg",
    "a/*.jpg",
    "/a/b/",
)


def attempt(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """A function's result, or the type and the text of its error."""
    try:
        return function(*arguments, **options)
    except Exception as error:
        return f"{type(error).__qualname__}: {error}"


def _of_paths(name: str) -> Callable[[Ground], Any]:
    def compute(ground: Ground) -> Any:
        import fiftyone.core.storage as fos

        function = getattr(fos, name)
        return {repr(path): attempt(function, path) for path in (*PATHS, None, 5, b"a/b", ground.dir)}

    return compute


for _function in (
    "get_file_system",
    "split_prefix",
    "get_bucket_name",
    "is_local",
    "ensure_local",
    "normalize_path",
    "sep",
    "realpath",
    "isabs",
    "abspath",
    "normpath",
    "exists",
    "isfile",
    "isdir",
    "get_glob_root",
):
    call(f"fos.{_function}")(_of_paths(_function))


@call("fos.realpath: through links")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    os.symlink("data/photos", "link")
    return fos.realpath("link/china.jpg"), fos.abspath("link/china.jpg")


@call("fos.join")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    joined = [fos.join(first, second) for first in PATHS for second in ("x.jpg", "/y.jpg", "", "s3:/z")]
    return (
        joined,
        fos.join("a"),
        fos.join("a", "b", "c"),
        attempt(fos.join),
    )


@call("fos.commonpath", since="1.22")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    return (
        fos.commonpath(["/a/b/c", "/a/b/d"]),
        fos.commonpath(["a/b", "a/c"]),
        attempt(fos.commonpath, ["/a", "b"]),
        attempt(fos.commonpath, []),
    )


@call("fos.exists, fos.isfile, fos.isdir: of what is there")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    os.symlink("nowhere", "broken")
    paths = ["data", "data/photos/china.jpg", ground.photos[0], str(ground.dir), "broken", "data/nothing"]
    return [(path, fos.exists(path), fos.isfile(path), fos.isdir(path)) for path in paths]


@call("fos.make_temp_dir, fos.TempDir")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    made = fos.make_temp_dir("below")
    with fos.TempDir(str(ground.dir)) as folder:
        inside = os.path.isdir(folder)
    return made, folder, inside, os.path.isdir(folder)


@call("fos.ensure_dir, fos.ensure_basedir, fos.ensure_empty_dir")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    fos.ensure_dir("a/b")
    fos.ensure_dir("a/b")
    fos.ensure_basedir("c/d/file.txt")
    fos.ensure_basedir(str(ground.dir / "e" / "file.txt"))
    fos.ensure_empty_dir("f")
    fos.write_file("x", "f/file.txt")
    error = attempt(fos.ensure_empty_dir, "f")
    fos.ensure_empty_dir("f", cleanup=True)
    return error, attempt(fos.ensure_dir, "data/photos/china.jpg"), sorted(os.listdir()), os.listdir("f")


@call("fos.write_file, fos.read_file, fos.read_files")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    fos.write_file("text ü", "a/b/text.txt")
    fos.write_file(b"\x00\xff", str(ground.dir / "bytes.bin"))
    return (
        fos.read_file("a/b/text.txt"),
        fos.read_file(str(ground.dir / "bytes.bin"), binary=True),
        fos.read_files(["a/b/text.txt", "a/b/text.txt"], progress=False),
        fos.read_files(["a/b/text.txt", "missing"], binary=True, skip_failures=True),
        attempt(fos.read_files, ["missing"]),
        attempt(fos.read_file, "missing"),
        attempt(fos.read_file, "bytes.bin"),
        attempt(fos.read_file, "data"),
        attempt(fos.write_file, "x", "data"),
    )


@call("fos.open_file")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    with fos.open_file("written.txt", "w") as file:
        file.write("one")
    with fos.open_file(str(ground.dir / "written.bin"), "wb") as file:
        file.write(b"two")
    with fos.open_file("written.txt") as file:
        text, kind = file.read(), type(file).__qualname__
    return text, kind, attempt(fos.open_file, "missing"), attempt(fos.open_file, "written.txt", "q")


@call("fos.open_files", since="1.12")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    fos.write_file("one", "written.txt")
    fos.write_file(b"two", "written.bin")
    with fos.open_files(["written.txt", "written.bin"], "rb") as files:
        both = [file.read() for file in files]
    with fos.open_files(["written.txt", "missing"], skip_failures=True) as files:
        some = [file and file.read() for file in files]
    return both, some, attempt(fos.open_files, ["missing"])


@call("fos.open_ranged", since="1.22")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    fos.write_file(b"two", "written.bin")
    ranged = fos.open_ranged("written.bin")
    ranged.seek(1)
    rest = ranged.read()
    ranged.release()
    return rest, ranged.closed, attempt(fos.open_ranged, "missing")


@call("fos: JSON, ndjson and YAML")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    value = {"a": [1, 2.5, None], "ü": "s3:/x"}
    fos.write_json(value, "a/value.json")
    fos.write_json(value, str(ground.dir / "pretty.json"), pretty_print=True)
    fos.write_ndjson([value, value], "a/value.ndjson")
    fos.write_yaml(value, "a/value.yaml")
    return (
        fos.read_json("a/value.json"),
        fos.load_json("a/value.json"),
        fos.load_json('{"b": 1}'),
        attempt(fos.load_json, "neither"),
        attempt(fos.read_json, "missing.json"),
        attempt(fos.read_json, "a/value.yaml"),
        fos.read_ndjson(str(ground.dir / "a" / "value.ndjson")),
        fos.load_ndjson("a/value.ndjson"),
        attempt(fos.load_ndjson, "neither"),
        attempt(fos.read_ndjson, "missing.ndjson"),
        fos.read_yaml("a/value.yaml"),
        attempt(fos.read_yaml, "missing.yaml"),
    )


@call("fos.list_files, fos.list_subdirs")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    (ground.data / ".hidden").write_text("x")
    metadata = fos.list_files("data/photos", return_metadata=True)
    return (
        fos.list_files("data"),
        fos.list_files("data/photos"),
        fos.list_files(str(ground.data), recursive=True),
        fos.list_files("data", abs_paths=True, recursive=True, include_hidden_files=True),
        sorted(fos.list_files("data/photos", sort=False)),
        [(entry["filepath"], entry["name"], entry["size"]) for entry in metadata],
        fos.list_files("data/photos/", abs_paths=True, return_metadata=True)[0]["filepath"],
        fos.list_files("nowhere"),
        fos.list_files("data/photos/china.jpg"),
        fos.list_files(""),
        fos.list_subdirs("data"),
        fos.list_subdirs(str(ground.data), abs_paths=True, recursive=True),
        attempt(fos.list_subdirs, "nowhere"),
    )


@call("fos.list_buckets, fos.list_available_file_systems")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    return (
        fos.list_buckets(fos.FileSystem.LOCAL),
        fos.list_buckets(fos.FileSystem.LOCAL, abs_paths=True),
        fos.FileSystem.LOCAL in fos.list_available_file_systems(),
        str(fos.FileSystem.LOCAL),
        fos.FileSystem("local") is fos.FileSystem.LOCAL,
    )


@call("fos.get_glob_matches")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    patterns = (
        "data/photos/*.jpg",
        str(ground.data / "*" / "c*"),
        "data/**/*.png",
        "nothing/*",
        "data",
        "[s]3:/x",
    )
    return [fos.get_glob_matches(pattern) for pattern in patterns]


@call("fos.copy_file, fos.move_file, fos.delete_file")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    photo = "data/photos/china.jpg"
    fos.copy_file(photo, "a/b/copy.jpg")
    fos.copy_file(str(ground.dir / photo), str(ground.dir / "copy.jpg"))
    fos.copy_file("copy.jpg", "s3:/bucket/copy.jpg")
    fos.move_file("copy.jpg", "moved:to/copy.jpg")
    fos.delete_file("a/b/copy.jpg")
    return (
        sorted(os.listdir()),
        attempt(fos.copy_file, "missing", "x"),
        attempt(fos.move_file, "missing", "x"),
        attempt(fos.delete_file, "missing"),
        attempt(fos.delete_file, "data"),
        attempt(fos.copy_file, photo, photo),
    )


@call("fos.copy_files, fos.move_files, fos.delete_files")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    seen: list[Any] = []
    photos = [os.path.relpath(path) for path in ground.photos]
    fos.copy_files(photos, [f"copies/{i}.jpg" for i in range(len(photos))])
    fos.copy_files(["missing", photos[0]], ["x", "y.jpg"], skip_failures=True)
    fos.move_files(["copies/0.jpg", "copies/1.jpg"], ["moved/0.jpg", str(ground.dir / "moved" / "1.jpg")])
    fos.delete_files(["copies/2.jpg", str(ground.dir / "copies" / "3.jpg")], progress=seen.append)
    fos.delete_files(["missing"], skip_failures=True)
    return (
        bool(seen),
        attempt(fos.copy_files, ["missing"], ["x"]),
        attempt(fos.move_files, ["missing"], ["x"]),
        attempt(fos.delete_files, ["missing"]),
        fos.copy_files([], []),
    )


@call("fos.copy_dir, fos.move_dir, fos.delete_dir")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    fos.copy_dir("data/photos", "copied/photos")
    fos.copy_dir(str(ground.data / "masks"), "copied/photos", overwrite=False)
    fos.copy_dir("data/masks", str(ground.dir / "other"))
    fos.copy_dir("data/heatmaps", "other")
    fos.move_dir("copied/photos", "moved/photos")
    fos.move_dir("other", "moved/photos", overwrite=False)
    fos.copy_dir("data/clouds", "gone/clouds")
    fos.delete_dir("gone/clouds")
    return (
        attempt(fos.copy_dir, "nowhere", "x"),
        attempt(fos.move_dir, "nowhere", "x"),
        attempt(fos.delete_dir, "nowhere"),
        sorted(os.listdir()),
    )


@call("fos.make_archive, fos.extract_archive")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    fos.make_archive("data/photos", "photos.zip")
    fos.extract_archive("photos.zip", outdir="extracted")
    fos.make_archive("extracted", str(ground.dir / "a" / "b.zip"), cleanup=True)
    fos.extract_archive("a/b.zip", cleanup=True)
    return attempt(fos.extract_archive, "missing.zip"), attempt(fos.make_archive, "nowhere", "x.zip")


@call("fos.get_file_size", since="1.18")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    with open(ground.photos[0], "rb") as file:
        of_file = fos.get_file_size(file)
    return (
        fos.get_file_size("data/photos/china.jpg"),
        of_file,
        attempt(fos.get_file_size, "missing"),
    )


@call("fos.run")
def _(ground: Ground) -> Any:
    import fiftyone.core.storage as fos

    return (
        fos.run(lambda number: number * 2, [1, 2, 3]),
        fos.run(lambda number: number * 2, [1, 2, 3], return_results=False, num_workers=2),
    )
