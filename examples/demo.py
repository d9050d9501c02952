"""A demonstration of Forebay in half a minute: ``make demo``.

The demo starts and stops everything that it needs: SeaweedFS as the S3 server, the embedded index, and one
Celery worker. It uses only what a user would use: the ``forebay`` command and the Python API.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from photos import photographs
from PIL import Image

from forebay.config.sizes import human

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.servers.seaweedfs import S3Server, seaweedfs

FOREBAY = str(Path(sys.executable).with_name("forebay"))
BUCKET = "photos"
Photographs = dict[str, bytes]


def demo(directory: Path) -> None:
    """Runs all steps of the demo."""
    cache_dir = directory / "cache"
    monday = {name.replace("photos", "monday", 1): body for name, body in photographs(600)}
    tuesday = {name.replace("photos", "tuesday", 1): body for name, body in photographs(200, seed=1)}
    limit = _size(monday) + _size(tuesday) // 2

    title("An S3 server with photographs in it")
    with seaweedfs() as server:
        configure(server, directory, cache_dir, limit)
        server.create_bucket(BUCKET)
        say(f"SeaweedFS checks signatures at {server.endpoint}.")
        upload(server, monday)
        say(f"{len(monday)} photographs are in s3://{BUCKET}/monday/: {human(_size(monday))}.")

        title("A fleet of one worker")
        say(f"The cache is {cache_dir}; it may hold {human(limit)}.")
        say("Redis is not configured, so an embedded Valkey keeps the index and the queue.")
        with embedded(cache_dir), worker(directory / "worker.log"):
            title("Prefetch through the worker")
            forebay("prefetch", f"s3://{BUCKET}/monday/")

            title("The same again: nothing is downloaded")
            forebay("prefetch", f"s3://{BUCKET}/monday/")

            title("Read them in Python")
            read_back(monday)

            title("Prefetch more than there is room for")
            upload(server, tuesday)
            say(f"{len(tuesday)} more have come: {human(_size(tuesday))}. There is room for half of that.")
            with watching(cache_dir) as sums:
                forebay("prefetch", f"s3://{BUCKET}/tuesday/")
            check_limit(max(sums), limit)
            check_evicted(list(monday), list(tuesday))

            title("How it stands")
            forebay("stats")


def configure(server: S3Server, directory: Path, cache_dir: Path, limit: int) -> None:
    """Sets the environment as a user would, without the settings of this machine."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "FIFTYONE_MEDIA_CACHE_"))]:
        del os.environ[name]
    nothing = directory / "media_cache_config.json"
    nothing.write_text("{}")
    os.environ |= server.environment()
    os.environ |= {
        "FIFTYONE_MEDIA_CACHE_CONFIG_PATH": str(nothing),
        "FIFTYONE_MEDIA_CACHE_DIR": str(cache_dir),
        "FIFTYONE_MEDIA_CACHE_SIZE_BYTES": str(limit),
        "FIFTYONE_MEDIA_CACHE_NUM_WORKERS": "8",
    }


def upload(server: S3Server, files: Photographs) -> None:
    """Puts photographs into the bucket."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: server.put(BUCKET, *item, ContentType="image/jpeg"), files.items()))


@contextlib.contextmanager
def worker(log: Path) -> Iterator[None]:
    """A worker in the background, as ``forebay worker`` starts it, until the block ends."""
    print("\n$ forebay worker &", flush=True)
    with log.open("wb") as output:
        process = subprocess.Popen([FOREBAY, "worker"], stderr=output, stdout=output, start_new_session=True)
    try:
        while not json.loads(forebay("stats", "--json", quiet=True))["workers"]:
            if process.poll() is not None:
                raise DemoError(f"the worker ended with {process.returncode}:\n{log.read_text()}")
        say(f"It is alive: process {process.pid}.")
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            # A worker takes 20 s at most; one that hangs is not left behind.
            process.kill()
            process.wait()


@contextlib.contextmanager
def embedded(cache_dir: Path) -> Iterator[None]:
    """Stops the embedded Valkey after the block. Otherwise it would stop a minute after its last use."""
    try:
        yield
    finally:
        from forebay.embedded import stop

        stop(str(cache_dir))


def forebay(*arguments: str, quiet: bool = False) -> str:
    """Runs one ``forebay`` command; shows it and what it prints, or returns that."""
    if not quiet:
        say(f"$ {' '.join(['forebay', *arguments])}")
    done = subprocess.run(
        [FOREBAY, *arguments], stdout=subprocess.PIPE if quiet else None, text=True, check=False
    )
    if done.returncode:
        raise DemoError(f"forebay {arguments[0]} ended with {done.returncode}")
    return done.stdout


def read_back(files: Photographs) -> None:
    """Asks for every path, opens the photograph, and compares it with the original."""
    import forebay

    start = time.perf_counter()
    for key, body in files.items():
        path = forebay.local_path(f"s3://{BUCKET}/{key}")
        if Path(path).read_bytes() != body:
            raise DemoError(f"{path} is not what was uploaded")
        with Image.open(path) as image:
            image.load()
    # Writes the access times to the index; otherwise this happens every few seconds, and at exit.
    forebay.media_cache.close()
    say(f">>> forebay.local_path('s3://{BUCKET}/{key}')")
    say(f"{path!r}\n")
    seconds = time.perf_counter() - start
    say(f"All {len(files)} were opened and are byte for byte what was uploaded ({seconds:.1f} s).")


@contextlib.contextmanager
def watching(directory: Path) -> Iterator[list[int]]:
    """Adds up the files in the cache, including partial files, a hundred times a second.

    A file may appear or disappear during one look. Therefore each sum uses two looks: a file that both of
    them saw existed at the moment between the two.
    """
    sums, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            one, other = _sizes(directory), _sizes(directory)
            sums.append(sum(min(one[file], other[file]) for file in one.keys() & other.keys()))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sums
    finally:
        over.set()
        thread.join()


def check_limit(most: int, limit: int) -> None:
    """Shows that the cache was never larger than its limit."""
    if most > limit:
        raise DemoError(f"the cache held {most} bytes, and may hold {limit}")
    say(f"\nMeanwhile the cache never held more than {most:,} of the {limit:,} bytes that it may hold.")


def check_evicted(read: list[str], new: list[str]) -> None:
    """Shows that the least recently read photographs were evicted."""
    import forebay

    def there(key: str) -> bool:
        [path] = forebay.get_local_paths([f"s3://{BUCKET}/{key}"], download=False)
        return os.path.exists(path)

    gone = [key for key in read if not there(key)]
    if not gone or gone != read[: len(gone)] or not all(map(there, new)):
        raise DemoError(f"evicted, out of order: {gone}")
    forebay.media_cache.close()
    say(f"{len(gone)} had to go, oldest first: exactly those that were read before all others,")
    for key in [*gone[:3], "…", gone[-1]]:
        say(f"    {key}")
    say(f"The other {len(read) - len(gone)} of Monday and the {len(new)} of Tuesday are there.")


# What the demo leaves behind


def check_that_nothing_is_left(directory: Path) -> int:
    """Looks for files and for processes of this demo; returns the exit status."""
    left = [process for process in psutil.process_iter() if str(directory) in _traces(process)]
    _, left = psutil.wait_procs(left, timeout=5)
    if not left and not directory.exists():
        say("\nNothing is left behind: no process, no file.")
        return 0
    say(f"\nLeft behind: {directory if directory.exists() else 'no file'}, {len(left)} processes")
    for process in left:
        say(f"    {process.pid}: {' '.join(process.cmdline())}")
    return 1


def _traces(process: psutil.Process) -> str:
    """The working directory, the command line and the environment of a process."""
    with contextlib.suppress(psutil.Error):
        if process.pid != os.getpid():
            return " ".join([process.cwd(), *process.cmdline(), *process.environ().values()])
    return ""


# Output


class DemoError(Exception):
    """A step of the demo failed."""


def title(text: str) -> None:
    """Prints the heading of the next part."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}── {text} {'─' * (75 - len(text))}{plain}\n", flush=True)


def say(text: str) -> None:
    """Prints a line."""
    print(text, flush=True)


def _size(files: Photographs) -> int:
    return sum(map(len, files.values()))


def _sizes(cache_dir: Path) -> dict[int, int]:
    """The size of each file in the cache, by its inode, because a file may be renamed meanwhile."""
    sizes = {}
    for directory in (cache_dir / "media", cache_dir / ".forebay" / "tmp"):
        for place, _, names in os.walk(directory):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    found = os.stat(os.path.join(place, name))
                    sizes[found.st_ino] = found.st_size
    return sizes


def main() -> int:
    """Runs the demo, and removes everything at its end, also after an error."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory, status, start = Path(tempfile.mkdtemp(prefix="forebay-demo-")), 0, time.perf_counter()
    try:
        demo(directory)
        say(f"\nThat took {time.perf_counter() - start:.0f} s.")
    except KeyboardInterrupt:
        status = 130
        print("\ninterrupted", file=sys.stderr)
    except DemoError as error:
        status = 1
        print(f"\nerror: {error}", file=sys.stderr)
    finally:
        shutil.rmtree(directory)
        status = check_that_nothing_is_left(directory) or status
    return status


if __name__ == "__main__":
    sys.exit(main())
