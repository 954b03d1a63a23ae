"""Cores and GPUs that a job needs."""

import pytest

from diffusion_lab.machine import cores_and_gpus
from diffusion_lab.machine.cores_and_gpus import Gpu, Needs, gpus, needs
from diffusion_lab.sweeps.launchers import Basic, Joblib

GPUS = [Gpu("0", "GPU-a"), Gpu("1", "GPU-b"), Gpu("2", "GPU-c")]


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cores_and_gpus, "cores", lambda: 8)
    monkeypatch.setattr("diffusion_lab.sweeps.launchers.cores", lambda: 8)


@pytest.mark.parametrize(("n_jobs", "share"), [(1, 8), (2, 4), (3, 2), (8, 1), (100, 1), (-1, 1)])
def test_a_share_follows_from_the_number_of_jobs_alone(n_jobs, share):
    assert Joblib(n_jobs).cores_per_job == share
    assert needs({"accelerator": "cpu", "devices": 1}, share, []) == Needs(share, share)


def test_a_job_of_the_basic_launcher_is_left_as_it_is_and_takes_all_cores():
    assert needs({"accelerator": "auto", "devices": 1}, Basic.cores_per_job, []) == Needs(None, 8)


@pytest.mark.parametrize(
    ("devices", "share", "expected"), [(2, 4, Needs(2, 4)), (2, 1, Needs(1, 2)), (16, 1, Needs(1, 8))]
)
def test_the_processes_of_a_job_share_its_cores(devices, share, expected):
    assert needs({"accelerator": "cpu", "devices": devices}, share, GPUS) == expected


@pytest.mark.parametrize(("typed", "cores"), [("3", 3), ("3,2", 3), ("64", 8)])
def test_omp_num_threads_overrides_the_share(monkeypatch, typed, cores):
    monkeypatch.setenv("OMP_NUM_THREADS", typed)
    assert needs({"accelerator": "cpu"}, 4, []) == Needs(None, cores)


@pytest.mark.parametrize(
    ("devices", "chosen", "count", "named"),
    [
        (1, GPUS, 1, False),
        ("2", GPUS, 2, False),
        ("auto", GPUS, 3, False),
        (-1, GPUS, 3, False),
        ([2, 0], [GPUS[2], GPUS[0]], 2, True),
        ("1,", [GPUS[1]], 1, True),
    ],
)
@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "auto"])
def test_a_job_takes_gpus_and_no_cores(accelerator, devices, chosen, count, named):
    need = needs({"accelerator": accelerator, "devices": devices}, 6, GPUS)
    assert need == Needs(max(1, 6 // count), 0, tuple(chosen), count, named)


def test_a_gpu_is_shown_by_the_name_it_has_here_and_locked_by_its_own(monkeypatch):
    identities = 'print(\'["GPU-x", "GPU-y"]\')'
    monkeypatch.setattr(cores_and_gpus, "_IDENTITIES", identities)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 1")
    assert gpus(2) == [Gpu("3", "GPU-x"), Gpu("1", "GPU-y")]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpus(2) == [Gpu("0", "GPU-x"), Gpu("1", "GPU-y")]
    assert gpus(0) == []
