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
# A number in a paper is worth what stands behind it: was it the luck of a seed? Would the run come out the same
# again? Did anybody look at the test set thirty times? In this notebook you
#
# 1. kill a training with `kill -9`, resume it, and show that nothing was lost: every loss and every weight is the
#    same;
# 2. reproduce a run from its folder, and learn to read the verdict when it is *not* the same;
# 3. search for a learning rate;
# 4. compare the winner with the default over fresh seeds, in a sweep, with a test of significance;
# 5. plan how many seeds a claim needs.
#
# The runs are small (the bundled digits, no download): all of it takes four minutes on two CPU cores. The craft is the
# same for large ones, and so are the commands.

# %%
# On Colab, or wherever the package is missing, this installs it. It is in no package registry yet: say where it lies.
# Untried on Colab.
import importlib.util
import subprocess
import sys

PACKAGE = ""  # a wheel, a folder, or git+https://… of Diffusion Lab
if importlib.util.find_spec("diffusion_lab") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", PACKAGE, "optuna>=5,<6"], check=True)

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 72}
import itertools
import json
import os
import shlex
import signal
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Image, display

import diffusion_lab
from diffusion_lab.catalogue.comparison.statistics import compare_means, power
from diffusion_lab.reproduction.reproduce import verdict_on
from diffusion_lab.training.step_losses import read_step_losses
from diffusion_lab.walkthrough import check_cause, check_seeds

# "digits" stands for the quickest form; without it, runs are a little longer, with more trials and seeds.
QUICK = os.environ.get("WALKTHROUGH_DATA") == "digits"
STEPS, TRIALS, SEEDS = (48, 3, "1,2") if QUICK else (96, 8, "1,2,3,4")
print(f"{STEPS} steps each, {TRIALS} trials, seeds {SEEDS}")

# %% [markdown]
# In a terminal you type `diffusion-lab train …`. This helper does so from a notebook, and shows what was typed.


# %%
def lab(command, only=()):
    """Run a command of diffusion-lab as a process, and print what it says, or only the lines with these words."""
    print(f"$ diffusion-lab {command.replace(BASE, '$BASE')}")
    typed = [sys.executable, "-m", "diffusion_lab", *shlex.split(command)]
    done = subprocess.run(typed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    wrong = done.returncode not in (0, 3)  # 3: not identical
    for line in done.stdout.splitlines():
        if wrong or not only or any(word in line for word in only):
            print(line)


# %% [markdown]
# ## 1. One run, and what it leaves behind
#
# This is the recipe `quickstart`, shortened: a small U-Net, a cosine schedule, few sampling steps. `BASE` is what all
# runs below have in common.

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
# `config.yaml` is the whole config, defaults included; `manifest.json` says which code, data, versions and hardware
# made the run; `step_losses.f32` has the loss of *every* step. The manifest's fingerprint answers the question "is
# this the same experiment?" without comparing anything by eye: runs with equal `experiment` have the same config,
# code and data.

# %%
manifest = whole.folder.read_manifest()
print(json.dumps(manifest["fingerprint"], indent=2))

# %% [markdown]
# ## 2. Kill it, and go on
#
# Jobs die: preempted, out of time, a tripped cable. Below, the same training runs as a process. As soon as half of
# its steps are in a checkpoint, and it has trained a little further, it gets SIGKILL, the signal that no program can
# answer: nothing can be saved, flushed or tidied up.

# %%
typed = [sys.executable, "-m", "diffusion_lab", "train", *BASE.split(), "name=killed", "console=json"]
process = subprocess.Popen(typed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while process.poll() is None and not any(
    len(read_step_losses(path)) >= STEPS // 2 for path in Path("outputs/killed").glob("*")
):
    time.sleep(0.05)
time.sleep(0.4)  # some steps further
os.kill(process.pid, signal.SIGKILL)
print(f"the process ended with status {process.wait()}: minus the number of SIGKILL")
lab("runs outputs/whole outputs/killed")
# %% [markdown]
# The catalogue says `killed`: the run never said goodbye, and its process is gone. Resuming needs nothing but the
# folder:

# %%
(folder,) = Path("outputs/killed").iterdir()
before = len(read_step_losses(folder))
lab(f"train resume={folder}", only=("steps  ", "epoch ", "training loss"))

# %% [markdown]
# It went on from the last checkpoint, so the steps after that were trained again. Was anything different? Look at the
# bits, not at the picture:

# %%
losses, resumed = read_step_losses(whole.folder.path), read_step_losses(folder)
killed = diffusion_lab.load_run(folder)
same_weights = all(
    torch.equal(a, b) for a, b in zip(whole.parts.network.parameters(), killed.parts.network.parameters(), strict=True)
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
axes.grid(alpha=0.3)
# %% [markdown]
# Why does that work? The checkpoint holds the weights, their average where there is one, the optimizer and the
# position in the data. And no random number depends on *when* it is drawn: each is a function of (seed, epoch, batch,
# row). A resumed run asks for the same addresses and gets the same numbers. `diffusion-lab verify_resume` does this
# experiment for any config, with random moments.
#
# ## 3. Reproduce it
#
# `reproduce` trains a run again from its folder alone, and compares every step, the weights, the metrics and the
# samples. Its last line is the verdict, and its exit status is 0 for identical and 3 for anything else, for scripts.

# %%
lab(f"reproduce run_dir={os.path.relpath(whole.folder.path)}", only=("identical", "differs"))

# %% [markdown]
# ### Exercise 1: read a verdict
#
# Now a run in which *one* thing was changed, secretly. You are shown the first line of the verdict only. Think of
# when a change can show for the first time:
#
# - another `seed` gives other first weights and other noise;
# - another `network` does, too, and may have weights of another shape;
# - another course of the learning rate (`lr_schedule`) changes nothing until a step is taken with the other rate;
# - other `threads` add up the same numbers in another order, and differ in the last digit.

# %%
mystery = diffusion_lab.train(f"{BASE} name=mystery console=bar lr_schedule.decay_steps={STEPS // 2}")
verdict = verdict_on(mystery.folder, whole.folder)  # on the command line: reproduce run_dir=… compare_only=…
print(verdict.line)

# %%
cause = ...  # "seed", "network", "lr_schedule" or "threads"

# %%
right = check_cause(cause, verdict)

# %% tags=["hide-input"] jupyter={"source_hidden": true} cellView="form"
# @title Solution
# The first steps are equal, during the warm-up; the relative difference is far above that of rounding.
right = check_cause("lr_schedule", verdict)

# %% [markdown]
# The lines below the first one would have told you:

# %%
for kind, description in verdict.differences.items():
    print(f"{kind}: {description}")

# %% [markdown]
# ## 4. A search
#
# Which learning rate? A search is a training command in which some keys have several values; Optuna chooses them,
# looks at the validation loss, and stops hopeless trials early. Every trial is an ordinary run, with a folder of its
# own.

# %%
lab(
    f"search search=typed search.name=rate search.n_trials={TRIALS} {BASE} optimizer.lr=tag(log,interval(1e-3,5e-2))",
    only=("best trial", "finished", "again"),
)
display(Image("outputs/search/rate/figures/slices.png", width=520))

# %%
trials = [run for run in diffusion_lab.records("outputs/search/rate") if run["state"] == "finished"]
trials.sort(key=lambda run: run["metrics.val/loss"])
for run in trials[:4]:
    print(f"learning rate {run['config.optimizer.lr']:8.2g}   validation loss {run['metrics.val/loss']:.4f}")
best = f"{trials[0]['config.optimizer.lr']:.2g}"

# %% [markdown]
# Stop here, and you have what many papers report: the best of several trials, of *one* seed, on the very data that
# chose it. Its number is too good: of several noisy values, the smallest is also the luckiest. So the winner has to
# win again.
#
# ## 5. A sweep over fresh seeds, and a comparison
#
# The recipe's own rate, 0.002, against the one that was found, with seeds that the search has not seen. `-m` runs all
# combinations; `launcher=joblib` runs two at a time, each on its own core.

# %%
lab(
    f"train -m launcher=joblib launcher.n_jobs=2 {BASE} name=rates optimizer.lr=0.002,{best} seed={SEEDS}",
    only=("jobs", "  finished", "  failed"),
)

# %% [markdown]
# The comparison finds by itself which keys differ; runs that differ in the seed alone are one row.

# %%
lab("compare outputs/rates metric=val/loss")
# %% [markdown]
# Read the sentence slowly. It compares the best row with the next one, **paired** by seed: both configs had the same
# first weights (as far as they have the same shapes), the same order of data and the same noise, so that a difference
# within a pair is the doing of the learning rate. "Better" needs two things: a bootstrap interval of the mean
# difference without 0 in it, and a t test with p < 0.05. "Ahead" is said where only the interval agrees; "cannot be
# told apart" is a result, too. The picture shows the pairs:

# %%
runs = diffusion_lab.records("outputs/rates")
rates = sorted({run["config.optimizer.lr"] for run in runs})
loss = {(run["config.optimizer.lr"], run["config.seed"]): run["metrics.val/loss"] for run in runs}
seeds_run = sorted({run["config.seed"] for run in runs})

figure, axes = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
for seed in seeds_run:
    axes.plot([0, 1], [loss[rate, seed] for rate in rates], "o-", color="0.6", lw=1, ms=5)
for place, rate in enumerate(rates):
    mean = np.mean([loss[rate, seed] for seed in seeds_run])
    axes.plot([place - 0.12, place + 0.12], [mean, mean], color="tab:red", lw=3, label="mean" if place == 0 else None)
axes.set_xticks([0, 1], [f"learning rate {rate:g}" for rate in rates])
axes.set(
    xlim=(-0.4, 1.4), ylabel="validation loss", title=f"{len(seeds_run)} seeds each; a grey line joins those of a seed"
)
axes.legend()
axes.grid(alpha=0.3, axis="y")
# %%
pairs = [loss[rates[0], seed] - loss[rates[1], seed] for seed in seeds_run]
result = compare_means(*({seed: loss[rate, seed] for seed in seeds_run} for rate in rates))
print(f"differences by seed: {', '.join(f'{pair:+.4f}' for pair in pairs)}")
print(f"mean {result.mean:+.4f}, interval {result.low:+.4f} to {result.high:+.4f}, p = {result.p:.2g}")

# %% [markdown]
# ## 6. How many seeds?
#
# Before the next comparison, plan it. Say that the differences of pairs have a standard deviation (spread) $s$, and
# you care about a true difference $d$. With $n$ seeds the t test finds it in a share of all comparisons, its *power*.
# What counts is $d/s$ alone:

# %%
numbers = range(2, 21)
figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for ratio in (0.5, 1.0, 2.0, 4.0):
    axes.plot(numbers, [power(ratio, 1.0, n) for n in numbers], "o-", ms=3, label=f"d = {ratio:g} s")
axes.axhline(0.8, color="0.4", ls="--", lw=1)
axes.set(xlabel="seeds", ylabel="share of comparisons that find it", title="Power of the paired t test at 5 %")
axes.set_xticks(range(2, 21, 2))
axes.legend()
axes.grid(alpha=0.3)
# %% [markdown]
# ### Exercise 2: choose the number of seeds
#
# You care about a difference that is as large as the spread, $d = s$, and want to find it in 80 % of all cases, with
# no more runs than needed. How many seeds does each config need? (`power(difference, spread, n)` is yours to use.)

# %%
seeds = ...

# %%
right = check_seeds(seeds, difference=1.0, spread=1.0)

# %% tags=["hide-input"] jupyter={"source_hidden": true} cellView="form"
# @title Solution
smallest = next(n for n in itertools.count(2) if power(1.0, 1.0, n) >= 0.8)
right = check_seeds(smallest, difference=1.0, spread=1.0)

# %% [markdown]
# Three seeds, the custom of many papers, find such a difference in less than one case in five. And where they do
# "find" it, they overstate it: only the luckiest differences pass the test.
#
# **What to take away**
#
# - A run that cannot be killed and resumed to the same bits cannot be debugged: you would never know what changed.
# - The verdict says *when* two runs part, and that tells why.
# - A search proposes; fresh seeds decide. Choose on validation data, and look at the test set once, at the end
#   (`diffusion-lab evaluate … split=test`).
# - Pair by seed, report the interval, and say "cannot be told apart" when that is what was found.
# - A loss can be compared within one schedule and one parameterization only; across these, compare samples.
#
# `diffusion-lab compare … out=page.html` writes all of it, with loss curves and samples, as one page to send to a
# colleague. Send the run folder along: it is all that `reproduce` needs.
