"""What is given to Lightning's trainer in place of settings, and besides them."""

import pytest
from lightning_fabric.plugins.environments import SLURMEnvironment

from diffusion_lab.training.fsdp import FullySharded, ShardedPrecision
from diffusion_lab.training.precision import HalfNetwork
from diffusion_lab.training.strategy import strategy_and_plugins

SLURM = {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "77"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, []), (SLURM, [False]), (TORCHRUN, []), (SLURM | TORCHRUN, []), (SLURM | {"SLURM_JOB_NAME": "bash"}, [])],
    ids=["neither", "SLURM", "torchrun", "torchrun under SLURM", "a shell under SLURM"],
)
def test_a_job_of_slurm_is_not_requeued_by_lightning(monkeypatch, variables, expected):
    """Which would save in the middle of a step."""
    for name in (*SLURM, *TORCHRUN):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    replaced, plugins = strategy_and_plugins({"precision": "32-true"})
    assert replaced == {}
    assert all(isinstance(plugin, SLURMEnvironment) for plugin in plugins)
    assert [plugin.auto_requeue for plugin in plugins] == expected


@pytest.mark.parametrize(
    ("settings", "replaced", "plugins"),
    [
        ({}, {}, []),
        ({"precision": "bf16-mixed"}, {}, []),
        ({"precision": "bf16-true"}, {"precision": None}, [HalfNetwork]),
    ],
)
def test_precision_is_lightning_s_own_but_for_a_network_in_bfloat16(settings, replaced, plugins):
    found, made = strategy_and_plugins(settings)
    assert found == replaced
    assert [type(plugin) for plugin in made] == plugins


@pytest.mark.parametrize(
    ("settings", "precision"),
    [({}, "32-true"), ({"precision": 32}, "32-true"), ({"precision": "bf16-true"}, "bf16-true")],
)
def test_shards_have_a_strategy_and_a_precision_of_the_project(settings, precision):
    replaced, (plugin,) = strategy_and_plugins({"strategy": "fsdp", **settings})
    assert isinstance(replaced.pop("strategy"), FullySharded)
    assert replaced == {"precision": None}
    assert isinstance(plugin, ShardedPrecision)
    assert plugin.precision == precision
