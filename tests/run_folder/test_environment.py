"""The environment that is recorded: what bits depend on, and what of it is left out."""

import importlib.metadata
import os
import platform
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from diffusion_lab.run_folder import environment


def trainer(device="cpu", processes=1):
    strategy = SimpleNamespace(root_device=torch.device(device))
    return SimpleNamespace(strategy=strategy, world_size=processes, precision="bf16-mixed")


def test_versions_are_those_of_the_packages(monkeypatch):
    version = importlib.metadata.version

    def found_version(name):
        if name == "hydra-core":
            raise importlib.metadata.PackageNotFoundError
        return "2" if name == "torch" else version(name)

    monkeypatch.setattr(importlib.metadata, "version", found_version)
    found = environment.versions()
    assert found["python"] == platform.python_version()
    assert found["numpy"] == version("numpy")
    assert found["hydra-core"] == "not installed"
    assert found["torch"] == torch.__version__  # with its build, such as +cpu, which its package may not name


def test_a_run_on_the_cpu_depends_on_no_gpu(monkeypatch):
    monkeypatch.setattr(environment, "processor", lambda: "Abacus 3")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    found = environment.compute_environment(trainer())
    assert found["device"] == "cpu"
    assert found["name"] == "Abacus 3"
    assert found["cuda"] is found["cudnn"] is None
    assert found["precision"] == "bf16-mixed"
    assert found["processes"] == 1
    assert found["threads"] == torch.get_num_threads()
    assert found["system"] == f"{platform.system()} {platform.machine()}"


def test_a_run_on_a_gpu_depends_on_it_and_on_its_libraries(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Graphics {device}")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91000)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    found = environment.compute_environment(trainer("cuda:1"))
    assert (found["device"], found["name"]) == ("cuda", "Graphics cuda:1")
    assert (found["cuda"], found["cudnn"]) == ("13.0", 91000)
    assert environment.hardware()["gpus"] == ["Graphics 0", "Graphics 1"]


def test_without_a_gpu_there_is_no_cudnn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert environment.hardware()["cudnn"] is None


def test_variables_that_choose_kernels_are_recorded(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("MKL_", "ONEDNN_", "DNNL_", "ATEN_", "CUBLAS_", "NVIDIA_", "TORCH_")):
            monkeypatch.delenv(name)
    assert environment.compute_environment(trainer())["variables"] == {}
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    monkeypatch.setenv("EDITOR", "vi")
    assert environment.compute_environment(trainer())["variables"] == {"MKL_CBWR": "COMPATIBLE"}


@pytest.mark.parametrize(("processes", "variable", "threads"), [(1, None, 1), (2, None, 3), (2, "1", 1)])
def test_several_processes_share_the_threads_unless_the_user_says_how_many(monkeypatch, processes, variable, threads):
    monkeypatch.setattr(environment, "_suggested_max_num_threads", lambda count: 6 // count)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert environment.compute_environment(trainer(processes=processes))["threads"] == threads


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vendor_id : A\nmodel name\t: Abacus 3: big\nmodel name : other\n", "Abacus 3: big"),
        ("flags : x\n", "elsewhere"),
    ],
)
def test_the_processor_s_name_is_the_first_that_linux_says(monkeypatch, text, expected):
    monkeypatch.setattr(Path, "is_file", lambda self: str(self) == "/proc/cpuinfo")
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: text)
    monkeypatch.setattr(platform, "processor", lambda: "elsewhere")
    assert environment.processor() == expected


def test_where_linux_says_nothing_the_machine_is_named(monkeypatch):
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert environment.processor() == "arm64"
