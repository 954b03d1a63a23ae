"""train.py without its look at the hardware: PyTorch's FSDP knows the CPU, too, if one insists.

`torchrun --nproc-per-node 2 tests/sharded_run.py trainer=ddp_cpu trainer.strategy=fsdp …`
"""

from hydra.core.hydra_config import HydraConfig

from diffusion_lab.config.cli import run
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.settings import read_settings
from diffusion_lab.runs import train, validate

if __name__ == "__main__":
    validate.check_hardware = lambda trainer: None
    run("train", lambda cfg: train.train(read_settings(TrainConfig, cfg), list(HydraConfig.get().overrides.task)))
