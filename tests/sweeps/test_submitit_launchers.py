"""The options that jobs are submitted with, read from a stand-in for SLURM's commands."""

import os

import pytest

from diffusion_lab.config.instantiate import make
from diffusion_lab.errors import LabError
from diffusion_lab.sweeps.submitit_launchers import SubmittedJob
from diffusion_lab.sweeps.supervisor import Supervisor

SBATCH = """#!/bin/sh
cp "$1" "$(dirname "$0")/submitted"
echo "Submitted batch job 321"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text(SBATCH)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "submitted"


def launcher(settings, *overrides):
    return make(settings("launcher=submitit_slurm", *overrides).launcher, "launcher", {})


def test_slurm_gets_an_array_of_jobs_with_a_signal_before_the_time_limit(settings, slurm, tmp_path):
    typed = (
        "launcher.partition=gpu",
        "launcher.array_parallelism=1",
        "launcher.mem_gb=16",
        "+launcher.additional_parameters.mail-type=END",
    )
    executor = launcher(settings, *typed).executor(tmp_path / "jobs")
    jobs = executor.map_array(SubmittedJob(Supervisor([], 4, [], uses_pool=False)), ["first", "second"])
    assert [job.job_id for job in jobs] == ["321_0", "321_1"]
    asked = {line.removeprefix("#SBATCH ") for line in slurm.read_text().splitlines() if line.startswith("#SBATCH")}
    assert {
        "--array=0-1%1", "--cpus-per-task=4", "--gpus-per-node=1", "--mem=16GB", "--mail-type=END", "--nodes=1",
        "--partition=gpu", "--signal=USR2@120", "--time=240",
    } <= asked  # fmt: skip
    assert not any(line.startswith(("--account", "--qos", "--constraint")) for line in asked)


def test_the_time_limit_and_cores_of_a_job_must_be_positive(settings, slurm):
    with pytest.raises(LabError, match="at least 1"):
        launcher(settings, "launcher.timeout_min=0")
