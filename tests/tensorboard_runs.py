"""A tiny sweep, and a TensorBoard server on what it left: for the tests that look at both."""

import contextlib
import itertools
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from conftest import TINY
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.settings import read_settings
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.runs.train import train


def typed(*overrides, then=train):
    """A run as if this had been typed; `then` may be another function of settings, overrides and options."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", list(overrides))
        options = compose("train", list(overrides), return_hydra_config=True).hydra.runtime.choices
    return then(read_settings(TrainConfig, cfg), list(overrides), dict(options))


def sweep(folder):
    """Four runs: two schedules, two widths."""
    return [
        typed(
            *TINY,
            f"schedule={schedule}",
            f"network.base_channels={channels}",
            "callbacks.samples.every_n_epochs=1",
            f"paths.output_dir={folder}",
        )
        for schedule, channels in itertools.product(("linear", "cosine"), (8, 16))
    ]


def events(folder):
    """What TensorBoard reads of a run."""
    accumulator = EventAccumulator(str(folder.path / "tensorboard"), {"scalars": 0, "images": 0, "tensors": 0})
    return accumulator.Reload()


def row(folder):
    """The choices in a run's row of HParams; None where it has none."""
    try:
        content = events(folder).PluginTagToContent(metadata.PLUGIN_NAME)[metadata.SESSION_START_INFO_TAG]
    except KeyError:
        return None
    hparams = metadata.parse_session_start_info_plugin_data(content).hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in hparams.items()}


@contextlib.contextmanager
def served(logdir):
    """The address of a TensorBoard server that has read `logdir`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--host", "127.0.0.1", "--port", str(port)]
    log = Path(logdir) / "tensorboard.log"
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(f"{address}/data/runs", server, log)
            yield address
        finally:
            server.terminate()


def _wait(address, server, log):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(address) as answer:
            if len(answer.read()) > 4:  # more than an empty list
                return
        time.sleep(0.1)
    raise TimeoutError(log.read_text())
