"""Whatever a Redis refuses, each command says it in a sentence with what to do about it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forebay.cli.main import run
from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError
from forebay.index import connection
from tests.commands import Done, Forebay, ended
from tests.servers.http_server import HTTPServer
from tests.servers.redis_proxy import RedisProxy
from tests.servers.valkey import Valkey

PAGE = Path(__file__).resolve().parents[2] / "docs" / "embedded-and-shared-redis.md"
[ACL] = re.findall(r"^ACL SETUSER forebay on >password (.*)$", PAGE.read_text(), re.MULTILINE)

REFUSALS = {
    "-NOPERM this user has no permissions to run the 'info' command": "give that user the rights of the ACL",
    "-NOPERM No permissions to access a key": "give that user the rights of the ACL",
    "-OOM command not allowed when used memory > 'maxmemory'.": "is full: raise its maxmemory",
    "-MISCONF Redis is configured to save RDB snapshots, but is unable to persist to disk.": (
        "takes no changes, as it cannot save its data (MISCONF): free space on its disk"
    ),
    "-READONLY You can't write against a read only replica.": "is a replica, which takes no changes",
    "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to no.": "is a replica",
    "-MOVED 3999 127.0.0.1:6381": "redis+cluster://host1:6379,host2:6379, and name",
    "-ASK 3999 127.0.0.1:6381": "redis+cluster://host1:6379,host2:6379, and name",
    "-CLUSTERDOWN Hash slot not served": "name a Redis without cluster mode in",
    "-CROSSSLOT Keys in request don't hash to the same slot": "name a Redis without cluster mode in",
    "-ERR SELECT is not allowed in cluster mode": "has no such database: set",
    "-ERR DB index is out of range": "has no such database: set",
    "-LOADING Redis is loading the dataset in memory": "still loads its data",
    "-NOREPLICAS Not enough good replicas to write.": "min-replicas-to-write",
    "-ERR max number of clients reached": "raise its maxclients",
    "-WRONGTYPE Operation against a key holding the wrong kind of value": "another program uses this",
    "-BUSY Redis is busy running a script.": "SCRIPT KILL",
    "-ERR unknown command 'EVALSHA'": "use Redis or Valkey 6.2 or newer",
    "-NOAUTH Authentication required.": "wants a password: put it into",
    "-WRONGPASS invalid username-password pair or user is disabled.": "refuses the password or user name",
    "-ERR something that nobody has seen before": "see its log",
    "garbage": "check the host and port in",
}


@pytest.fixture
def proxy(valkey: Valkey) -> Iterator[RedisProxy]:
    with RedisProxy(valkey.port) as proxy:
        yield proxy


@pytest.fixture
def command(
    forebay: Forebay,
    proxy: RedisProxy,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., Done]:
    """Runs a command in this process, which does not wait long for what is refused."""
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.1)
    for name, value in forebay.environment(redis_url=proxy.url).items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)

    def call(*words: str) -> Done:
        capfd.readouterr()
        status = run(words)
        return Done(status, *capfd.readouterr())

    return call


@pytest.mark.parametrize("name", ["*", "EVALSHA"])
@pytest.mark.parametrize("reply", REFUSALS)
def test_a_refusal_is_a_sentence(
    name: str, reply: str, command: Callable[..., Done], proxy: RedisProxy
) -> None:
    assert command("stats").status == 0
    proxy.answer(name, reply)

    for words in (("doctor",), ("clear", "--all", "--yes")):
        done = command(*words)

        assert done.status == 1 + (words[0] != "doctor"), done
        assert REFUSALS[reply] in re.sub(r"\s+", " ", done.out + done.err)
        assert "bug in Forebay" not in done.err
        assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "words", ["ls", "jobs", "volumes", "lease ls", "clear --all --yes", "evict --to 0", "worker"]
)
def test_each_command_says_it(words: str, forebay: Forebay, proxy: RedisProxy) -> None:
    assert forebay("stats", redis_url=proxy.url).status == 0
    proxy.answer("*", "-NOPERM this user has no permissions to run the 'info' command")

    done = forebay(*words.split(), redis_url=proxy.url)

    assert done.status == 2
    assert "give that user the rights of the ACL in docs/embedded-and-shared-redis.md" in done.err


@pytest.mark.parametrize("url", ["redis://host/0?retry_on_timeout=yes", "redis://host/0?decode_responses=no"])
def test_parameters_that_are_not_known(url: str) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown parameter '\w+' in its query: allowed are db, "
    ) as raised:
        MediaCacheConfig(redis_url=url)
    assert raised.value.setting == "redis_url"
    with pytest.raises(ConfigError, match=r"the parameter 'db' in its query must be a number"):
        MediaCacheConfig(broker_url="unix:///socket?db=one")


def a_user(valkey: Valkey, rules: list[str]) -> str:
    """Makes the user of a Redis anew, and returns its URL."""
    valkey.client.execute_command("ACL", "SETUSER", "forebay", "reset", "on", ">password", *rules)
    return valkey.url.replace("//", "//forebay:password@")


def test_the_smallest_acl_is_enough(forebay: Forebay, valkey: Valkey, http_server: HTTPServer) -> None:
    # given a user with exactly the rights that the page names
    forebay.settings |= {
        "redis_url": a_user(valkey, ACL.split()),
        "allowed_sources": http_server.endpoint + "/",
    }
    uris = [http_server.put(f"/{number}.bin", b"pixels") for number in range(5)]

    # then all works, from the check of everything to the worker's clean end
    assert forebay("doctor").status == 0
    with forebay.started("worker") as process:
        while not forebay("stats", "--json").json["workers"]:
            assert process.poll() is None, process.communicate()
        assert forebay("prefetch", *uris, dispatch="fleet").status == 0
        for words in (
            "doctor",
            "ls",
            "jobs",
            "volumes",
            "metrics",
            "lease ls",
            "evict --to 6",
            "clear --all --yes",
        ):
            assert forebay(*words.split()).status == 0, words
        process.terminate()
        assert ended(process).status == 0
    assert valkey.client.execute_command("ACL", "LOG") == []


@pytest.mark.parametrize("rule", [rule for rule in ACL.split() if not rule.startswith("-")])
def test_without_one_of_its_rules_doctor_says_so(rule: str, forebay: Forebay, valkey: Valkey) -> None:
    url = a_user(valkey, [one for one in ACL.split() if one != rule])

    done = forebay("doctor", redis_url=url)

    assert done.status == 1, done
    assert "give that user the rights of the ACL in docs/embedded-and-shared-redis.md" in done.out
