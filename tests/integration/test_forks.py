"""A process forks while one of its threads uses the cache for the first time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.valkey import Valkey

# A thread uses the cache for the first time, and the process forks while that thread imports a module. The
# fork may wait until the thread is done with it; a fork that does not, comes while it is imported.
FORK_DURING_IMPORT = """
import os, sys, threading
import forebay

importing, forking, forked = threading.Event(), threading.Event(), threading.Event()
os.register_at_fork(before=forking.set, after_in_parent=forked.set)

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r} and not importing.is_set():
            importing.set()
            forking.wait(30)
            forked.wait(1)

sys.meta_path.insert(0, Watch())

def use():
    try:
        {use}
    except forebay.ForebayError as error:
        assert not isinstance(error, forebay.IndexUnavailableError), error

thread = threading.Thread(target=use)
thread.start()
assert importing.wait(30), "nothing imports " + {module!r}
child = os.fork()
if child == 0:
    use()
    os._exit(0)
_, status = os.waitpid(child, 0)
thread.join()
sys.exit(status)
"""

# A thread uses the cache for the first time. What it imports meanwhile, while a fork could come, is printed.
IMPORTS_OUTSIDE = """
import json, sys, threading
import forebay
from forebay import forks

seen = []

class Watch:
    def find_spec(self, name, path=None, target=None):
        in_thread = threading.current_thread() is not threading.main_thread()
        if in_thread and not forks.setting_up()._is_owned():
            seen.append(name)

sys.meta_path.insert(0, Watch())

def use():
    try:
        {use}
    except forebay.ForebayError as error:
        assert not isinstance(error, forebay.IndexUnavailableError), error

thread = threading.Thread(target=use)
thread.start()
thread.join()
print(json.dumps(seen))
"""

HTTP = "forebay.local_path('http://127.0.0.1:9/a')"
S3 = "forebay.local_path('s3://bucket/a')"
GS = "forebay.local_path('gs://bucket/a')"
QUEUE = "forebay.media_cache.engine.open_dispatcher().queue_length()"


def run(code: str, cache_dir: Path, redis_url: str | None) -> str:
    """Runs a program in a new process; nothing answers its requests."""
    settings = {
        "FIFTYONE_MEDIA_CACHE_DIR": str(cache_dir),
        "FIFTYONE_MEDIA_CACHE_MAX_ATTEMPTS": "1",
        "FIFTYONE_MEDIA_CACHE_DISPATCH": "local",
        "FIFTYONE_MEDIA_CACHE_ALLOWED_SOURCES": "s3://,gs://,http://127.0.0.1:9/",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9",
        "FOREBAY_EMBEDDED_IDLE_SECONDS": "1",
    }
    if redis_url is not None:
        settings["FIFTYONE_MEDIA_CACHE_REDIS_URL"] = redis_url
    return subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | settings,
        timeout=60,
    ).stdout


@pytest.mark.parametrize(
    ("module", "use"),
    [
        ("forebay.cache", HTTP),
        ("forebay.config.declaring", "forebay.MediaCacheConfig()"),
        ("forebay.config.fields", HTTP),
        ("redis.retry", "forebay.stats()"),
        ("redis", "forebay.download_media(['http://127.0.0.1:9/a'])"),
        ("forebay.sources.s3", S3),
        ("celery", QUEUE),
    ],
)
def test_a_child_forked_during_an_import_uses_the_cache(
    tmp_path: Path, valkey: Valkey, module: str, use: str
) -> None:
    run(FORK_DURING_IMPORT.format(module=module, use=use), tmp_path / "cache", valkey.url)


def test_a_child_forked_while_the_embedded_index_starts_uses_the_cache(tmp_path: Path) -> None:
    code = FORK_DURING_IMPORT.format(module="forebay.embedded._binary", use="forebay.stats()")
    run(code, tmp_path / "cache", None)


@pytest.mark.parametrize(
    "use",
    [
        HTTP,
        S3,
        GS,
        "forebay.download_media(['s3://bucket/a'])",
        "list(forebay.download_context(['s3://bucket/a']))",
        "forebay.stats(), forebay.clear(), forebay.evict(0), list(forebay.contents())",
        QUEUE,
    ],
)
def test_nothing_is_imported_while_a_fork_can_come(tmp_path: Path, valkey: Valkey, use: str) -> None:
    assert json.loads(run(IMPORTS_OUTSIDE.format(use=use), tmp_path / "cache", valkey.url)) == []
