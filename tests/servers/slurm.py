"""A Slurm of one node: munged, slurmctld and slurmd of Debian, on free ports, in a directory of their own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.process import free_ports, running

NODE = "n1"
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo", "scancel", "squeue")
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"})

_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket,cred_expire=10
CredType=cred/munge
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=10000
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=20
PrologFlags=Alloc
Prolog={directory}/prolog
Epilog={directory}/epilog
TaskProlog={directory}/task-prolog
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=16 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be no cluster here; empty if there can."""
    absent = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    if absent:
        return f"no {', '.join(absent)}: on Debian, `apt-get install slurmctld slurmd slurm-client munge`"
    return "" if os.geteuid() == 0 else "only root can run slurmd and its prologs"


@dataclass
class Slurm:
    """A running cluster.

    Attributes:
        directory: has its logs, and the outputs of jobs.
    """

    directory: Path
    _daemons: dict[str, contextlib.ExitStack] = field(default_factory=dict)

    def use(self, scripts: Path, variables: dict[str, str]) -> None:
        """Has the daemons run ``prolog.sh`` and the others of a directory, with these variables.

        Args:
            variables: their values may name variables that Slurm sets.
        """
        exports = "".join(f'export {name}="{value}"\n' for name, value in variables.items())
        for name in ("prolog", "epilog", "task-prolog"):
            new = self.directory / f"{name}.new"
            new.write_text(f'#!/bin/sh\n{exports}exec "{scripts}/{name}.sh"\n')
            new.chmod(0o755)
            new.replace(self.directory / name)

    @property
    def log(self) -> str:
        """The log of slurmd."""
        return (self.directory / "slurmd.log").read_text(errors="replace")

    @property
    def node_state(self) -> str:
        return self.run("sinfo", "--noheader", "--format=%T").strip()

    def run(self, *command: str, environment: dict[str, str] | None = None) -> str:
        """Runs one of Slurm's commands; returns what it prints."""
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={"PATH": _PATH, "HOME": "/root", "SLURM_CONF": str(self._conf)} | (environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr}")
        return done.stdout

    def submit(
        self,
        script: Path,
        *options: str,
        arguments: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> int:
        """Submits a batch script; returns the job's number."""
        output = f"--output={self.directory}/%j.out"
        return int(
            self.run(
                "sbatch", "--parsable", output, *options, str(script), *arguments, environment=environment
            )
        )

    def output(self, job: int) -> str:
        """What a job has printed so far."""
        path = self.directory / f"{job}.out"
        return path.read_text() if path.exists() else ""

    def job(self, job: int) -> dict[str, str]:
        """What ``scontrol`` shows of a job."""
        return dict(re.findall(r"(\w+)=(\S*)", self.run("scontrol", "--oneliner", "show", "job", str(job))))

    def wait_until(self, job: int, *states: str) -> str:
        """Waits until a job has ended, its epilog too, or has come to a state; returns the state."""
        deadline = time.monotonic() + 60
        while True:
            state = self.job(job)["JobState"]
            if state in (states or _ENDED):
                return state
            assert time.monotonic() < deadline, f"job {job} is {state}\n{self.log[-3000:]}"
            time.sleep(0.05)

    def start_node(self) -> None:
        """Starts slurmd, and waits until the node may have jobs."""
        self._start(
            "slurmd",
            ["slurmd", "-D", "-f", str(self._conf)],
            lambda: self.node_state.startswith(("idle", "mixed", "allocated", "completing", "down")),
        )

    def kill_node(self) -> None:
        """Ends slurmd and the processes of all jobs, as a loss of power does."""
        self._daemons.pop("slurmd").close()
        for step in self._steps():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(step, 9)

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.directory / name).mkdir()
        key = self.directory / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        ports = free_ports(2)
        host = socket.gethostname().partition(".")[0]
        self._conf.write_text(_CONF.format(host=host, ports=ports, directory=self.directory, node=NODE))
        munged = ["munged", "--foreground", "--force", f"--key-file={key}"]
        munged += [f"--{name}-file={self.directory}/munge.{name}" for name in ("pid", "log", "seed")]
        munged.append(f"--socket={self.directory}/munge.socket")
        self._start("munged", munged, (self.directory / "munge.socket").exists)
        controller = ["slurmctld", "-D", "-i", "-c", "-f", str(self._conf)]
        self._start("slurmctld", controller, lambda: "UP" in self.run("scontrol", "ping"))
        self.start_node()

    def begin_again(self, job: int) -> None:
        """Waits until a job runs that was requeued: by then slurmd has forgotten its credential.

        A job that begins earlier may begin without a prolog.
        """
        deadline = time.monotonic() + 60
        while (found := self.job(job))["JobState"] != "RUNNING" or int(found["Restarts"]) < 1:
            assert time.monotonic() < deadline, f"job {job} is {found['JobState']}\n{self.log[-3000:]}"
            time.sleep(0.05)

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            self.run("scancel", "--signal=KILL", "--full", "--user=root")
        if "slurmd" in self._daemons:
            self.kill_node()
        for daemon in reversed(list(self._daemons.values())):
            daemon.close()

    @property
    def _conf(self) -> Path:
        return self.directory / "slurm.conf"

    def _start(self, name: str, command: list[str], ready: Callable[[], bool]) -> None:
        def answers() -> bool:
            try:
                return ready()
            except RuntimeError:
                return False

        stack = contextlib.ExitStack()
        environment = {"PATH": _PATH, "SLURM_CONF": str(self._conf)}
        log = self.directory / f"{name}.output"
        stack.enter_context(running(command, log=log, ready=answers, environment=environment, timeout=30))
        self._daemons[name] = stack

    def _steps(self) -> list[int]:
        """The process groups of slurmstepd and of the tasks of this cluster's jobs."""
        groups = set()
        conf = f"SLURM_CONF={self._conf}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (
                    conf in (process / "environ").read_bytes().split(b"\0")
                    and int(process.name) != os.getpid()
                ):
                    groups.add(os.getpgid(int(process.name)))
        servers = {os.getpgrp()}
        for name in ("munged", "slurmctld"):
            with contextlib.suppress(OSError, ValueError):
                servers.add(int((self.directory / f"{name.replace('munged', 'munge')}.pid").read_text()))
        return list(groups - servers)


@contextlib.contextmanager
def slurm() -> Iterator[Slurm]:
    """A new cluster, whose node has no job."""
    # Sockets have short names only.
    directory = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = Slurm(directory)
    for name in ("prolog", "epilog", "task-prolog"):
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(0o755)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
