"""The scripts for Slurm in a real one, of one node: prologs, jobs, epilogs, and all that comes between them.

``FOREBAY_TEST_SLURM=1`` makes it a failure that Slurm cannot run here.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.photos import photographs
from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from tests.servers import slurm
from tests.servers.embedded import eventually
from tests.servers.seaweedfs import S3Server
from tests.servers.slurm import NODE, Slurm
from tests.servers.valkey import valkey
from tests.servers.workers import settings_environment, worker

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "examples" / "slurm"
BIN = str(Path(sys.executable).parent)
COUNT = 12
_NO_SLURM = slurm.missing()

pytestmark = pytest.mark.skipif(
    bool(_NO_SLURM) and not os.environ.get("FOREBAY_TEST_SLURM"), reason=f"no Slurm: {_NO_SLURM}"
)


@dataclass
class Site:
    """A Slurm of one node, its cache, and the worker of the node.

    Attributes:
        directory: where jobs are submitted; its ``environment`` has the node's settings.
        state: where the prolog notes what it has begun.
    """

    slurm: Slurm
    cache: MediaCache
    directory: Path
    manifest: Path

    @property
    def state(self) -> Path:
        return self.directory / "state" / NODE

    @property
    def settings(self) -> str:
        return (self.directory / "environment").read_text()

    def place(self, name: str, settings: str | None) -> Path:
        """A directory such that jobs that are submitted there have these settings; ``None`` for no file."""
        made = self.directory / name
        made.mkdir()
        if settings is not None:
            (made / "environment").write_bytes(settings.encode())
        return made

    def submit(self, *options: str, script: str = "exec sleep 300", place: Path | None = None) -> int:
        """Submits a job whose comment names the manifest."""
        place = place or self.directory
        path = place / "job"
        path.write_text(f"#!/bin/bash\n{script}\n")
        comment = f"--comment=forebay={self.manifest}"
        return self.slurm.submit(path, comment, f"--chdir={place}", "--time=5", *options)

    def running(self, *options: str) -> int:
        """A job that runs, and whose manifest is being fetched."""
        job = self.submit(*options)
        self.slurm.wait_until(job, "RUNNING")
        self.await_leases(job)
        # A job that is requeued between its prolog and its script begins again without a prolog.
        eventually(lambda: f"Launching batch job {job} " in self.slurm.log, 60)
        return job

    def await_leases(self, job: int, seconds: float = 30.0) -> dict[str, float]:
        """The leases of a job as soon as it has one; it counts as running while its prolog runs."""
        deadline = time.monotonic() + seconds
        while not (leases := self.leases(job)):
            assert time.monotonic() < deadline, f"job {job} has no lease\n{self.slurm.log[-3000:]}"
            time.sleep(0.02)
        return leases

    def notes(self, job: int) -> list[Path]:
        return list(self.state.glob(f"{job}.*.job"))

    def leases(self, job: int) -> dict[str, float]:
        """The names of a job's leases, as its prologs have noted them, and how long they last."""
        alive = {lease.name: lease.seconds_left for lease in self.cache.leases()}
        names = [f"job-{note.name.split('.')[1]}" for note in self.notes(job)]
        return {name: alive[name] for name in names if name in alive}

    def logged(self, job: int) -> str:
        """What the prologs and epilogs of a job have put into the log of slurmd."""
        return "\n".join(
            re.findall(rf"^\[[-0-9T:.]+\] forebay: job {job}: (.*)$", self.slurm.log, re.MULTILINE)
        )


@pytest.fixture(scope="module")
def site(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A cluster that fetches manifests of 12 photographs."""
    assert not _NO_SLURM, _NO_SLURM
    directory = tmp_path_factory.mktemp("site")
    source = s3_server.environment() | {"AWS_EC2_METADATA_DISABLED": "true"}
    manifest = directory / "manifest.txt"
    objects = {name.removeprefix("photos/"): body for name, body in photographs(COUNT)}
    uris = s3_server.put_many(s3_server.create_bucket(), objects)
    manifest.write_text("".join(f"{uri}\n" for uri in uris))
    with (
        pytest.MonkeyPatch.context() as patch,
        valkey(directory / "valkey") as redis,
        slurm.slurm() as cluster,
    ):
        for name, value in source.items():
            patch.setenv(name, value)
        config = MediaCacheConfig(
            cache_dir=str(directory / "cache"),
            redis_url=redis.url,
            volume="compute",
            min_free_bytes=0,
            allowed_sources=["s3://"],
        )
        with closing(MediaCache(config)) as cache:
            variables = settings_environment(cache) | source
            settings = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
            (directory / "environment").write_text(settings)
            cluster.use(
                SCRIPTS,
                {
                    "FOREBAY_BIN": BIN,
                    "FOREBAY_STATE": f"{directory}/state",
                    "FOREBAY_SETTINGS": "$SLURM_JOB_WORK_DIR/environment",
                },
            )
            with worker(cache):
                yield Site(cluster, cache, directory, manifest)


@pytest.fixture(scope="module", autouse=True)
def out_of_time(site: Site) -> int:
    """A job whose time is over. Slurm looks at this every 30 s, so the other tests run meanwhile."""
    job = site.running()
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 1))
    site.slurm.run("scontrol", "update", f"JobId={job}", f"EndTime={now}")
    return job


def test_a_jobs_manifest_is_fetched_and_kept_until_it_ends(site: Site) -> None:
    # When a job of five minutes begins
    job = site.submit(script=f"while [ ! -e {site.directory}/go ]; do sleep 0.05; done")
    site.await_leases(job)

    # Then its manifest is fetched, and kept for as long as Slurm gives it, which squeue knows
    [(name, seconds)] = site.leases(job).items()
    assert 200 < seconds <= 300
    fetched = site.cache.job(name.removeprefix("job-")).wait()
    assert (fetched.total, fetched.failed) == (COUNT, 0)

    # And when it has ended, nothing keeps it any more; both logs tell
    (site.directory / "go").touch()
    assert site.slurm.wait_until(job) == "COMPLETED"
    assert name not in [lease.name for lease in site.cache.leases()]
    assert site.notes(job) == []
    said = f"{site.manifest} is being fetched by job {fetched.id}, and kept for "
    assert said in site.logged(job)


@pytest.mark.parametrize("array", [False, True], ids=["job", "array"])
def test_the_lease_of_what_is_cancelled_ends(site: Site, array: bool) -> None:
    jobs = [site.running(*(["--array=0-1"] if array else []))]
    if array:
        # The last task of an array has the number of the array, for which squeue shows all tasks.
        jobs.append(jobs[0] + 1)
    for job in jobs:
        assert [200 < seconds <= 300 for seconds in site.await_leases(job).values()] == [True]
    leases = [name for job in jobs for name in site.leases(job)]
    site.slurm.run("scancel", str(jobs[0]))
    eventually(lambda: not any(site.notes(job) for job in jobs), 60)
    assert not set(leases) & {lease.name for lease in site.cache.leases()}


def test_a_job_that_is_requeued_has_one_lease_at_a_time(site: Site) -> None:
    job = site.running("--requeue")
    [first] = site.leases(job)
    site.slurm.run("scontrol", "requeue", str(job))
    site.slurm.begin_again(job)
    site.await_leases(job)
    assert first not in [lease.name for lease in site.cache.leases()]
    assert len(site.leases(job)) == 1
    site.slurm.run("scancel", str(job))
    site.slurm.wait_until(job)
    assert site.notes(job) == []


def test_the_lease_of_a_job_that_its_restarted_node_does_not_run_again_ends_with_the_next(site: Site) -> None:
    # Given what the prolog of a job has begun that runs elsewhere since this node was restarted
    job = site.running()
    [old], [note] = site.leases(job), site.notes(job)
    _, owner, fetched = note.read_text().split()
    (site.state / f"999999.{fetched}.job").write_text(f"another-boot {owner} {fetched}\n")
    note.unlink()

    # When another job ends here
    site.slurm.run("scancel", str(job))
    site.slurm.wait_until(job)

    # Then it has taken the lease along
    assert old not in [lease.name for lease in site.cache.leases()]
    assert site.notes(999999) == site.notes(job) == []


# Files of settings, and what slurmd's log says of them; the others are in `test_slurm.py`.
_WRONG = {
    "unset": ("X=$NOPE/x\n{0}", "line 1 uses a variable that is not set", True),
    "syntax": ("{0}X=(\nY='\n", "has a syntax error: from there on, nothing is used", True),
    "missing": (None, "there is no such file", False),
}


def test_whatever_the_file_of_settings_holds_the_job_runs_and_the_node_stays(site: Site) -> None:
    # When jobs run on a node whose file of settings is wrong
    jobs = {}
    for name, (text, _, _) in _WRONG.items():
        place = site.place(name, None if text is None else text.format(site.settings))
        jobs[name] = site.submit(place=place, script="echo the job has run")
    states = {name: site.slurm.wait_until(job) for name, job in jobs.items()}

    # Then none has failed, the node may have more, and what is wrong is in the log
    assert set(states.values()) == {"COMPLETED"}
    assert not re.search("drain|down|fail", site.slurm.node_state)
    for name, job in jobs.items():
        _, message, fetched = _WRONG[name]
        assert "the job has run" in site.slurm.output(job)
        assert message in site.logged(job)
        assert ("is being fetched by job" in site.logged(job)) == fetched
        assert ("is not being fetched" in site.logged(job)) != fetched


def test_why_a_manifest_is_not_fetched_is_in_the_log_of_slurm_and_in_the_jobs(site: Site) -> None:
    place = site.place(
        "nowhere", site.settings + "FIFTYONE_MEDIA_CACHE_REDIS_URL=redis://:hush@127.0.0.1:1/0\n"
    )
    job = site.submit(place=place, script="echo the job has run; srun true")
    assert site.slurm.wait_until(job) == "COMPLETED"
    for text in (site.logged(job), site.slurm.output(job)):
        assert "error: Redis at redis://:***@127.0.0.1:1/0 cannot be reached" in text
        assert "is not being fetched; the job's own script will try again, and say why" in text
        assert "hush" not in text
    assert site.slurm.output(job).count("is not being fetched") == 1


def submit_training(site: Site, name: str, training: str) -> int:
    """Submits the batch script from a login node with settings of its own; the training is a stand-in."""
    place = site.place(name, site.settings)
    (place / "python").write_text(f"#!/bin/sh\n{training}\n")
    (place / "python").chmod(0o755)
    login = {
        "PATH": os.pathsep.join([str(place), BIN, os.environ["PATH"]]),
        "FIFTYONE_MEDIA_CACHE_VOLUME": "login",
        "FIFTYONE_MEDIA_CACHE_REDIS_URL": "redis://127.0.0.1:1/0",
        "FOREBAY_WITH_SETTINGS": str(SCRIPTS / "with-settings.sh"),
        "FOREBAY_SETTINGS": str(place / "environment"),
    }
    options = ["--gpus=0", "--cpus-per-task=1", f"--chdir={place}", "--time=5"]
    script, arguments = SCRIPTS / "train.sbatch", [str(site.manifest)]
    return site.slurm.submit(script, *options, arguments=arguments, environment=login)


def test_the_batch_script_uses_the_settings_of_the_compute_node(site: Site) -> None:
    job = submit_training(site, "trains", 'echo "trained on $FIFTYONE_MEDIA_CACHE_VOLUME: $2"')
    assert site.slurm.wait_until(job) == "COMPLETED", site.slurm.output(job)
    assert f"{COUNT} of {COUNT} samples cached" in site.slurm.output(job)
    assert f"trained on compute: {site.manifest}" in site.slurm.output(job)


def test_a_batch_script_that_is_cancelled_ends_its_own_lease(site: Site) -> None:
    # Given a training under way, for which the script holds a lease
    before = {lease.name for lease in site.cache.leases()}
    job = submit_training(site, "cancelled", "echo training; exec sleep 300")
    eventually(lambda: "training" in site.slurm.output(job), 60)
    [own] = {lease.name for lease in site.cache.leases()} - before

    # When it is cancelled, then the lease ends before the script does
    site.slurm.run("scancel", str(job))
    assert site.slurm.wait_until(job) == "CANCELLED"
    assert own not in [lease.name for lease in site.cache.leases()]


def test_the_lease_of_a_job_that_is_out_of_time_ends(site: Site, out_of_time: int) -> None:
    assert site.slurm.wait_until(out_of_time) == "TIMEOUT"
    assert site.notes(out_of_time) == []
    assert site.cache.leases() == []
