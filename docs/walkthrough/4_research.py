# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. Research as a craft
#
# A number in a paper is worth what stands behind it: was it the luck of a seed? Would the run come out the same again?
# Did anybody look at the test set thirty times? In this notebook you
#
# 1. kill a training with `kill -9`, resume it, and show that nothing was lost: every loss and every weight is the same;
# 2. reproduce a run from its folder, and learn to read the verdict when it is *not* the same;
# 3. search for a learning rate;
# 4. compare the winner with the default over fresh seeds, in a sweep, with a test of significance;
# 5. plan how many seeds a claim needs.
#
# The runs are small (the bundled digits, no download), so that all of it takes minutes on two CPU cores. The craft is the
# same for large ones, and so are the commands.

# %%
# In Colab, or wherever the package is missing, this installs it. (Not tried on Colab yet.)
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("diffusion_lab") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "diffusion-lab[search]"], check=True)

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 72}
import json
import os
import shlex
import signal
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, display

import diffusion_lab
from diffusion_lab.catalogue.comparison.statistics import compare_means, power
from diffusion_lab.config.schema import Paths
from diffusion_lab.config.reader_schema import ReproduceConfig
from diffusion_lab.reproduction.reproduce import reproduce
from diffusion_lab.training.step_losses import read_step_losses
from diffusion_lab.walkthrough import check_cause, check_seeds

# "digits" stands for the quickest form; without it, runs are a little longer, with more trials and seeds.
QUICK = os.environ.get("WALKTHROUGH_DATA") == "digits"
STEPS, TRIALS, SEEDS = (48, 3, "1,2") if QUICK else (96, 8, "1,2,3,4")
print(f"{STEPS} steps each, {TRIALS} trials, seeds {SEEDS}")

# %% [markdown]
# In a terminal you type `diffusion-lab train …`. This helper does so from a notebook, and shows what was typed.


# %%
def lab(command, show=True):
    """Run a command of diffusion-lab as a process of its own, and print what it says."""
    print(f"$ diffusion-lab {command}")
    typed = [sys.executable, "-m", "diffusion_lab", *shlex.split(command)]
    done = subprocess.run(typed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    if show or done.returncode not in (0, 3):  # 3: not identical
        print(done.stdout)
    return done.stdout


# %% [markdown]
# ## 1. One run, and what it leaves behind
#
# This is the recipe `quickstart`, shortened: a small U-Net, a cosine schedule, few sampling steps. `BASE` is what all runs
# below have in common.

# %%
BASE = (
    f"experiment=quickstart trainer=cpu logger=none evaluation=none trainer.max_steps={STEPS} "
    f"lr_schedule.decay_steps={STEPS} lr_schedule.warmup_steps=12 trainer.check_val_every_n_epoch=2 "
    "callbacks.checkpoints.every_n_epochs=1 network.base_channels=16 sampler=ddim sampler.num_steps=10 "
    "sampling.num_samples=8"
)
whole = diffusion_lab.train(f"{BASE} name=whole")
print(*sorted(path.name for path in whole.folder.path.iterdir()), sep="  ")

# %% [markdown]
# `config.yaml` is the whole config, defaults included; `manifest.json` says which code, data, versions and hardware made
# the run; `step_losses.f32` has the loss of *every* step. The manifest's fingerprint answers the question "is this the
# same experiment?" without comparing anything by eye: runs with equal `experiment` have the same config, code and data.

# %%
manifest = whole.folder.read_manifest()
print(json.dumps(manifest["fingerprint"], indent=2))

# %% [markdown]
# ## 2. Kill it, and go on
#
# Jobs die: preempted, out of time, a tripped cable. Below, the same training runs as a process. As soon as it has saved a
# checkpoint and trained a little further, it gets SIGKILL, the signal that no program can answer: nothing can be saved,
# flushed or tidied up.

# %%
typed = [sys.executable, "-m", "diffusion_lab", "train", *BASE.split(), "name=killed", "console=json"]
process = subprocess.Popen(typed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while process.poll() is None and not list(Path("outputs/killed").glob("*/checkpoints/last.ckpt")):
    time.sleep(0.05)
time.sleep(0.4)
os.kill(process.pid, signal.SIGKILL)
print(f"the process ended with status {process.wait()}: minus the number of SIGKILL")
lab("runs outputs/whole outputs/killed");

# %% [markdown]
# The catalogue says `killed`: the run never said goodbye, and its process is gone. Resuming needs nothing but the folder:

# %%
(folder,) = Path("outputs/killed").iterdir()
before = len(read_step_losses(folder))
said = lab(f"train resume={folder}", show=False)
print("\n".join(line for line in said.splitlines() if "resum" in line or line.startswith(("steps", "epoch", "training"))))

# %% [markdown]
# It went on from the last checkpoint, so the steps after that were trained again. Was anything different? Look at the
# bits, not at the picture:

# %%
losses, resumed = read_step_losses(whole.folder.path), read_step_losses(folder)
killed = diffusion_lab.load_run(folder)
same_weights = all(
    np.array_equal(a.numpy(), b.numpy())
    for a, b in zip(whole.parts.network.parameters(), killed.parts.network.parameters(), strict=True)
)
print(f"losses of {len(losses)} and {len(resumed)} steps, equal bit for bit: {np.array_equal(losses, resumed)}")
print(f"all final weights equal bit for bit: {same_weights}")
print(f"step losses that were on disk when it was killed: {before}")

figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
axes.plot(np.arange(1, len(losses) + 1), losses, lw=4, color="0.75", label="never stopped")
axes.plot(np.arange(1, len(resumed) + 1), resumed, lw=1.2, color="tab:red", label="killed and resumed")
axes.axvline(before, color="0.3", ls=":", label="steps that the checkpoint had")
axes.set(xlabel="step", ylabel="loss, mean squared error of the noise", yscale="log", title="kill -9 in the middle")
axes.legend()
axes.grid(alpha=0.3);

# %% [markdown]
# Why does that work? The checkpoint holds weights, optimizer, average and the position in the data. And no random number
# depends on *when* it is drawn: each is a function of (seed, epoch, batch, row). A resumed run asks for the same addresses
# and gets the same numbers. `diffusion-lab verify_resume` does this experiment for any config, with random moments.
#
# ## 3. Reproduce it
#
# `reproduce` trains a run again from its folder alone, and compares every step, the weights, the metrics and the samples.
# Its last line is the verdict, and its exit status is 0 for identical and 3 for anything else, for scripts.

# %%
print(lab(f"reproduce run_dir={os.path.relpath(whole.folder.path)}", show=False).splitlines()[-1])

# %% [markdown]
# ### Exercise: read a verdict
#
# Now a run in which *one* thing was changed, secretly. You are shown the first line of the verdict only. Think of when a
# change can show for the first time:
#
# - another `seed` gives other first weights and other noise;
# - another `network` does, too, and may have weights of another shape;
# - another course of the learning rate (`lr_schedule`) changes nothing until a step is taken with the other rate;
# - other `threads` add up the same numbers in another order, and differ in the last digit.

# %%
mystery = diffusion_lab.train(f"{BASE} name=mystery console=bar lr_schedule.final_fraction=0.5")
verdict = reproduce(
    ReproduceConfig(
        run_dir=str(mystery.folder.path),
        compare_only=str(whole.folder.path),
        console={"_target_": "diffusion_lab.console.Console"},
        paths=Paths(),
    )
)
print(verdict.line)

# %%
cause = ...  # "seed", "network", "lr_schedule" or "threads"

check_cause(cause, verdict)

# %% tags=["hide-input"] jupyter={"source_hidden": true} cellView="form"
# @title Solution
# The first steps are equal, during the warm-up; the relative difference is far above that of rounding.
cause = "lr_schedule"

check_cause(cause, verdict)

# %% [markdown]
# The lines below the first one would have told you:

# %%
for kind, description in verdict.differences.items():
    print(f"{kind}: {description}")
