"""The scripts for Slurm, run as Slurm runs them: with its variables, and little else."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from examples.photos import photographs
from forebay.cache import MediaCache
from tests.caches import MakeCache
from tests.servers.seaweedfs import S3Server
from tests.servers.workers import settings_environment, worker

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "examples" / "slurm"
BIN = str(Path(sys.executable).parent)
COUNT = 20


@dataclass
class Node:
    """A compute node on which job 42 is about to run.

    Attributes:
        manifest: the job's.
        state: where the prolog notes what it has begun.
        settings: the variables of the cache and of S3.
    """

    directory: Path
    settings: dict[str, str]
    manifest: Path = field(init=False)
    state: Path = field(init=False)

    def __post_init__(self) -> None:
        self.manifest, self.state = self.directory / "manifest.txt", self.directory / "state" / "n1"
        self.environment = self.directory / "environment"
        self.environment.write_text("".join(f"{k}={shlex.quote(v)}\n" for k, v in self.settings.items()))

    @property
    def jobs(self) -> list[str]:
        """The jobs that prologs have begun and no epilog has ended."""
        return [note.name.split(".")[1] for note in self.state.glob("42.*.job")]

    def daemon(
        self, script: str, comment: str | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a script as slurmd does, which gives it no search path."""
        slurm = {
            "SLURM_JOB_ID": "42",
            "SLURMD_NODENAME": "n1",
            "SLURM_JOB_USER": pwd.getpwuid(os.getuid()).pw_name,
            "SLURM_JOB_COMMENT": f"forebay={self.manifest}" if comment is None else comment,
            "SLURM_JOB_END_TIME": str(int(time.time()) + 3600),
        }
        ours = {
            "FOREBAY_BIN": BIN,
            "FOREBAY_SETTINGS": str(self.environment),
            "FOREBAY_STATE": str(self.state.parent),
        }
        return self._run([str(SCRIPTS / script)], slurm | ours | {"HOME": os.environ["HOME"]} | variables)

    def batch(self, *arguments: str, path: str = BIN) -> subprocess.CompletedProcess[str]:
        """Runs the batch script as its owner, in the directory that it was submitted from.

        Args:
            path: where its programs are.
        """
        srun = self.directory / "bin" / "srun"
        srun.parent.mkdir(exist_ok=True)
        srun.write_text('#!/bin/sh\nexec "$@"\n')
        srun.chmod(0o755)
        variables = {
            "PATH": os.pathsep.join([str(srun.parent), path, BIN, os.environ["PATH"]]),
            "SLURM_JOB_ID": "42",
            "CHECKPOINT": str(self.directory / "checkpoint.pt"),
        }
        command = [str(SCRIPTS / "train.sbatch"), str(self.manifest), *arguments]
        return self._run(command, dict(os.environ) | self.settings | variables)

    def _run(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def cache(make_cache: MakeCache, s3_environment: dict[str, str]) -> MediaCache:
    return make_cache(num_workers=2)


@pytest.fixture
def node(
    cache: MediaCache, s3_environment: dict[str, str], s3_server: S3Server, s3_bucket: str, tmp_path: Path
) -> Node:
    """A node of a cluster whose jobs read 20 photographs."""
    made = Node(
        tmp_path, settings_environment(cache) | s3_environment | {"AWS_EC2_METADATA_DISABLED": "true"}
    )
    objects = {name.removeprefix("photos/"): body for name, body in photographs(COUNT)}
    made.manifest.write_text("".join(f"{uri}\n" for uri in s3_server.put_many(s3_bucket, objects)))
    return made


@pytest.fixture
def fleet(cache: MediaCache) -> Iterator[None]:
    """A worker of the node's volume."""
    with worker(cache):
        yield


@pytest.mark.parametrize("script", sorted(SCRIPTS.iterdir()), ids=lambda script: script.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    done = subprocess.run(
        [shutil.which("shellcheck", path=BIN) or "shellcheck", "--external-sources", str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


# What is in a file of settings beside two good ones, and what is said about it.
_SETTINGS = {
    "good": ("", []),
    "unset": ("X=$NOPE/x", ["line 2 uses a variable that is not set, and gets an empty value"]),
    "often": (
        "LD_LIBRARY_PATH=/x:$LD_LIBRARY_PATH\nAWS_PROFILE=${TEAM}",
        ["line 2 uses a variable that is not set, and gets an empty value"],
    ),
    "assignment": (
        "X = secret",
        ["line 2 fails: write NAME=VALUE, and quotes around a value that has blanks"],
    ),
    "blanks": ("X=two secret", ["line 2 fails: write NAME=VALUE, and quotes around a value that has blanks"]),
    "quoted": ("X='two words'; Y=$(hostname -s)", []),
    "output": ("echo secret", []),
    "readonly": ("readonly PATH\nunset HOME\nset -f\nIFS=/\nX=()\nf() { :; }", []),
    "search path": ("PATH=/none", []),
    "directory": ("cd /", []),
    "trap": ("set -e; trap 'echo secret' ERR", []),
    "descriptors": ("exec 0</dev/null 1>&- 2>&-", []),
}
# What ends the shell that reads it: a good setting below is not used.
_ENDINGS = {
    "strict": ("set -eu\nX=$NOPE", "line 3 uses a variable that is not set, and gets an empty value"),
    "syntax": ("X=(secret", "has a syntax error: from there on, nothing is used"),
    "brace": ("}", "line 2 has a syntax error: from there on, nothing is used"),
    "quote": ("X='secret", "has a syntax error: from there on, nothing is used"),
    "exit": ("exit 7", "line 1 or a later one ends the shell: from there on, nothing is used"),
    "fails": ("set -e; false", "line 1 or a later one ends the shell: from there on, nothing is used"),
}


def with_settings(file: Path, **variables: str) -> tuple[dict[str, str], list[str]]:
    """The variables that a command has by a file of settings, and what is said about the file."""
    done = subprocess.run(
        [str(SCRIPTS / "with-settings.sh"), "/usr/bin/env", "-0"],
        env={"FOREBAY_SETTINGS": str(file), "PATH": "/usr/bin:/bin", "HOME": "/"} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    said = [line.removeprefix(f"forebay: {file}: ") for line in done.stderr.splitlines()]
    return dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair), said


@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize("name", _SETTINGS)
def test_a_line_that_is_wrong_is_named_and_the_others_are_used(tmp_path: Path, name: str, ends: str) -> None:
    # Given a file of settings with such a line
    text, message = _SETTINGS[name]
    file = tmp_path / "environment"
    lines = f"A='x y'\n{text}\nB=2\n".replace("\n", ends)
    file.write_bytes((b"\xef\xbb\xbf" if ends == "\r\n" else b"") + lines.encode())

    # When a command runs with them, in the environment of another node
    variables, said = with_settings(file, A="login", FIFTYONE="kept")

    # Then it has those of the file, and the line is named without its text
    assert (variables["A"], variables.get("B"), variables["FIFTYONE"]) == ("x y", "2", "kept")
    assert said == message


@pytest.mark.parametrize("name", _ENDINGS)
def test_a_line_that_ends_the_shell_is_named_and_the_command_runs(tmp_path: Path, name: str) -> None:
    text, message = _ENDINGS[name]
    file = tmp_path / "environment"
    file.write_text(f"A=1\n{text}\n")
    variables, said = with_settings(file)
    assert variables["A"] == "1"
    assert message in " ".join(said)
    assert "secret" not in " ".join(said)


def test_no_file_of_settings_leaves_the_environment(tmp_path: Path) -> None:
    for file in (tmp_path / "none", tmp_path):
        variables, said = with_settings(file, A="login")
        assert variables["A"] == "login"
        assert [line.endswith("so the environment alone has the settings") for line in said] == [True]


@pytest.mark.usefixtures("fleet")
def test_the_prolog_has_the_manifest_fetched_and_kept_and_the_epilog_lets_it_go(
    node: Node, cache: MediaCache
) -> None:
    # When the job is about to start
    done = node.daemon("prolog.sh")

    # Then its manifest is fetched, and kept until the job's time is over
    assert done.returncode == 0
    [job] = node.jobs
    assert f"forebay: job 42: {node.manifest} is being fetched by job {job}, and kept for 3" in done.stderr
    status = cache.job(job).wait()
    assert (status.total, status.failed, cache.stats()["current_count"]) == (COUNT, 0, COUNT)
    [lease] = cache.leases()
    assert lease.name == f"job-{job}"
    assert lease.entries == COUNT
    assert 3000 < lease.seconds_left <= 3600

    # And when the job has ended, nothing keeps it any more, and nothing is lost
    assert node.daemon("epilog.sh").returncode == 0
    assert cache.leases() == []
    assert cache.stats()["current_count"] == COUNT
    assert [path.name for path in node.state.rglob("*")] == ["reasons"]


@pytest.mark.usefixtures("fleet")
def test_the_second_prolog_of_a_job_whose_node_lost_its_power_ends_the_lease_of_the_first(
    node: Node, cache: MediaCache
) -> None:
    # Given a job whose node was restarted, so that no epilog has run
    node.daemon("prolog.sh")
    [first] = node.jobs

    # When it begins again, then only its second lease is left
    node.daemon("prolog.sh")
    [second] = node.jobs
    assert first != second
    assert [lease.name for lease in cache.leases()] == [f"job-{second}"]

    # And its epilog ends that
    node.daemon("epilog.sh")
    assert (cache.leases(), node.jobs) == ([], [])


@pytest.fixture
def of_another_user(node: Node, cache: MediaCache, fleet: None) -> None:
    """The volume, filled by its worker, is another user's, and the job's owner may not write it: root
    without the right to override permissions."""
    cache.close()
    for path in [Path(cache.config.cache_dir), *Path(cache.config.cache_dir).rglob("*")]:
        os.chown(path, 65534, 65534)
    owner = node.directory / "owner"
    owner.mkdir()
    rights = "--bounding-set=-dac_override,-dac_read_search,-fowner"
    for program in ("forebay", "python"):
        (owner / program).write_text(f'#!/bin/sh\nexec setpriv {rights} {BIN}/{program} "$@"\n')
        (owner / program).chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that are another user's")
@pytest.mark.usefixtures("of_another_user")
def test_the_prolog_of_a_job_whose_owner_may_only_read_the_cache(node: Node, cache: MediaCache) -> None:
    # When the job of somebody else is about to start, and HOME is a daemon's
    done = node.daemon("prolog.sh", FOREBAY_BIN=str(node.directory / "owner"), HOME="/nonexistent")

    # Then the workers fetch for it, and what it needs is kept
    assert "is being fetched by job " in done.stderr
    status = cache.job(node.jobs[0]).wait()
    assert (status.total, status.failed) == (COUNT, 0)
    assert len(cache.leases()) == 1
    assert node.daemon("epilog.sh", FOREBAY_BIN=str(node.directory / "owner")).returncode == 0
    assert cache.leases() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that are another user's")
@pytest.mark.usefixtures("of_another_user")
def test_the_batch_script_of_an_owner_who_may_only_read_the_cache(node: Node, cache: MediaCache) -> None:
    # When such a job runs, then workers fetch, and its own processes read
    done = node.batch("--epochs", "1", path=str(node.directory / "owner"))
    assert done.returncode == 0, done.stderr
    assert f"{COUNT} of {COUNT} samples cached, {COUNT} downloaded" in done.stdout
    assert "epoch 0 step 2/2 loss" in done.stdout
    assert cache.leases() == []

    # And what it would have to write itself, it is told about
    command = [
        str(node.directory / "owner" / "forebay"),
        "get",
        f"{node.manifest.read_text().split()[0]}.none",
    ]
    missing = subprocess.run(
        command, env=dict(os.environ) | node.settings, capture_output=True, text=True, check=False
    )
    assert missing.returncode == 2
    assert missing.stderr == (
        f"error: the volume 'default' at {cache.config.cache_dir} belongs to another user, and this user "
        "can only read it: let its workers fetch missing samples, with `forebay prefetch`, "
        "or run as that user\n"
    )


def test_without_a_worker_the_prolog_leaves_it_to_the_job_and_does_not_drain_the_node(
    node: Node, cache: MediaCache
) -> None:
    done = node.daemon("prolog.sh")
    assert done.returncode == 0
    assert f"error: no worker of volume 'default' is alive at {cache.config.redis_url}: start" in done.stderr
    assert "is not being fetched; the job's own script will try again, and say why" in done.stderr
    assert node.jobs == []
    assert cache.leases() == []
    assert node.daemon("epilog.sh").returncode == 0


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("", ""),
        ("something else", ""),
        ("forebay=train.txt", "the manifest in --comment=forebay=train.txt must be an absolute path"),
        ("forebay=/no/such/manifest.txt", "/no/such/manifest.txt is not being fetched"),
    ],
)
def test_a_comment_that_names_no_manifest_stops_no_job(node: Node, comment: str, message: str) -> None:
    done = node.daemon("prolog.sh", comment)
    assert done.returncode == 0
    assert message in done.stderr
    assert bool(message) == bool(done.stderr)
    assert node.jobs == []


@pytest.mark.usefixtures("fleet")
def test_the_batch_script_fetches_trains_and_ends_its_lease(node: Node, cache: MediaCache) -> None:
    done = node.batch("--epochs", "1")
    assert done.returncode == 0, done.stderr
    assert f"{COUNT} of {COUNT} samples cached, {COUNT} downloaded" in done.stdout
    assert "epoch 0 step 2/2 loss" in done.stdout
    assert "input wait: " in done.stdout
    assert cache.leases() == []


@pytest.mark.usefixtures("fleet")
def test_the_batch_script_lists_what_failed_and_does_not_train(node: Node, cache: MediaCache) -> None:
    missing = node.manifest.read_text().splitlines()[0].rpartition("/")[0] + "/missing.jpg"
    with node.manifest.open("a") as file:
        file.write(f"{missing}\n")
    done = node.batch()
    assert done.returncode == 1
    assert f"failed: {missing}: " in done.stderr
    assert "epoch 0" not in done.stdout
    assert cache.leases() == []
