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
# # 1. From noise to pictures
#
# In this notebook you destroy digits with noise, train a network to undo one small step of the destruction, and let it
# undo a thousand steps in a row, starting from nothing but noise. That is a diffusion model: *Denoising Diffusion
# Probabilistic Models* (Ho, Jain & Abbeel 2020, "DDPM" below).
#
# Two pieces you write yourself: the cosine schedule and the reverse step. A check tells you what is wrong with them; a
# solution is folded in below each. Everything else is called from the library, and it is the same code that
# `python scripts/train.py` runs.
#
# The notebook takes about eight minutes on two CPU cores, plus the download of MNIST (12 MB).

# %%
# On Colab, or wherever the package is missing, this installs it. It is in no package registry yet: say where it lies.
# Untried on Colab.
import importlib.util
import subprocess
import sys

PACKAGE = ""  # a wheel, a folder, or git+https://… of Diffusion Lab
if importlib.util.find_spec("diffusion_lab") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", PACKAGE], check=True)

# %% [markdown]
# ## Settings
#
# `mnist` is downloaded to `data/` beside the notebook if it is not there; to use a copy that lies elsewhere, set the
# environment variable `DIFFUSION_LAB_DATA_DIR`. `digits` comes with scikit-learn: no download, smaller pictures, and a
# run that is only long enough to see the code work (raise `BATCHES` for pictures). What the text says of results is
# about MNIST. Runs are written to `outputs/` beside the notebook.

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 72}
import math
import os
from dataclasses import replace

import numpy as np
import torch

import diffusion_lab
from diffusion_lab.figures import (
    Sheet,
    curves_figure,
    denoising_sheet,
    draw_image_grid,
    forward_sheet,
    grid_sheet,
    loss_curve,
    real_and_generated_sheet,
    signal_comparison,
    strip_sheet,
)
from diffusion_lab.metrics.frechet_distance import frechet_distance
from diffusion_lab.metrics.own_features import OwnFeatures
from diffusion_lab.networks import SimpleUNet
from diffusion_lab.noise import Noise
from diffusion_lab.schedules import CosineSchedule, Curve, LinearSchedule, SigmoidSchedule
from diffusion_lab.walkthrough import check_cosine_schedule, check_reverse_step

DATA = os.environ.get("WALKTHROUGH_DATA", "mnist")  # or "digits"
SMALL = DATA == "digits"
T = 200 if SMALL else 1000  # steps of the diffusion
EPOCHS, BATCHES = 10, 12 if SMALL else 150  # training: 10 "epochs" of so many batches of 64 images
WIDTH = 16 if SMALL else 32  # channels of the network

# %% [markdown]
# A *run* is described by a list of choices, as on the command line. This is ours. `build` makes its parts, untrained:
# the data, the process that destroys it, the network, and the pipeline that draws samples.

# %%
RECIPE = (
    f"data={DATA} data.batch_size=64 schedule=linear schedule.steps={T} parameterization=eps "
    "sampler=ancestral sampler.variance=beta clip=none "
    "optimizer=adamw optimizer.lr=4e-3 trainer.gradient_clip_val=1 ema=default ema.decay=0.998 "
    f"lr_schedule=warmup_cosine lr_schedule.warmup_steps={BATCHES} lr_schedule.decay_steps={EPOCHS * BATCHES} "
    f"trainer.max_epochs={EPOCHS} trainer.limit_train_batches={BATCHES} trainer.limit_val_batches=16 "
    "callbacks.samples.every_n_epochs=0"
)
NETWORK = f"network=simple_unet network.base_channels={WIDTH}"
parts = diffusion_lab.build(f"{RECIPE} {NETWORK}")
images, labels = parts.data.split("train", 64)
print("images:", list(images.shape), images.dtype, "from", images.min().item(), "to", images.max().item())
draw_image_grid(grid_sheet(images[:16], "Training images, in [−1, 1]"))

# %% [markdown]
# ## The forward process: destroying data
#
# At step $t$ an image $x_0$ has become
#
# $$x_t = \sqrt{\bar\alpha_t}\; x_0 + \sqrt{1 - \bar\alpha_t}\; \varepsilon, \qquad \varepsilon \sim \mathcal N(0, 1)$$
#
# (DDPM, eq. 4). $\bar\alpha_t$ falls from 1, all data, to 0, all noise. The *roots* are factors, so that
# variances add up to one: if the data has variance 1, so has $x_t$ at every $t$.
#
# One pixel by hand: $x_0 = 0.8$, $\bar\alpha = 0.5$, and the noise happens to be $\varepsilon = 0.3$.

# %%
x0, alpha_bar, eps = 0.8, 0.5, 0.3
print(f"with the roots:    {math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * eps:.3f}")
print(f"without the roots: {alpha_bar * x0 + (1 - alpha_bar) * eps:.3f}, which is a common mistake")

# %% [markdown]
# The library does the same to whole batches. It counts time from 0 (clean) to 1 (noise), and the schedule finds the
# time at which $\bar\alpha = 0.5$: there the signal-to-noise ratio $\bar\alpha/(1-\bar\alpha)$ is 1, its logarithm 0.

# %%
process, schedule = parts.process, parts.process.schedule
t_half = schedule.time(torch.zeros(1, dtype=torch.float64))
z = process.mix(torch.tensor([[x0]]), t_half, torch.tensor([[eps]])).z_t
print(f"the library, at step {round(t_half.item() * T)} of {T}: {z.item():.3f}")

# %% [markdown]
# Four digits on their way to noise. The same noise is used in each column, with more and more weight.

# %%
steps = [round(share * (T - 1)) for share in (0, 0.05, 0.15, 0.3, 0.5, 0.75, 1)]
times = [(i + 1) / T for i in steps]  # the papers' index i, from 0, is the library's time (i + 1)/T
noise = Noise(torch.arange(4), 0, "walkthrough")
states = [process.sample(images[:4], torch.full((4,), t, dtype=torch.float64), noise).z_t for t in times]
draw_image_grid(replace(forward_sheet(states, times, T, parts.data.item), size=0.7))

# %% [markdown]
# Nobody has to take the steps one after another: eq. 4 jumps to any $t$ at once, which is why training is cheap. It
# is what all single steps $x_t = \sqrt{1-\beta_t}\,x_{t-1} + \sqrt{\beta_t}\,z_t$ (eq. 2) come to. Let us take them,
# for 20,000 copies of one pixel, and compare.

# %%
half = T // 2
x = torch.full((20_000, 1), 0.8)
rows = Noise(torch.arange(len(x)), 0, "one step at a time")
for i in range(half):
    s, t = (torch.full((len(x),), n / T, dtype=torch.float64) for n in (i, i + 1))
    x = process.transition(x, s, t).sample(rows.at(i))
print(f"{half} single steps:  mean {x.mean():.3f}, standard deviation {x.std():.3f}")
alpha_bar = schedule.alpha_bar[half].item()
print(f"one jump, eq. 4: mean {math.sqrt(alpha_bar) * 0.8:.3f}, standard deviation {math.sqrt(1 - alpha_bar):.3f}")

# %% [markdown]
# ## The schedule: how fast
#
# DDPM lets $\beta_t$ rise in a straight line. $\bar\alpha_t$ is the product of all $1 - \beta$ until $t$.

# %%
curves_figure(schedule.curves(), f"Linear schedule, T = {T}")

# %% [markdown]
# The linear schedule destroys much early on, and has little left to do at the end: look at the strip above, whose last
# columns can hardly be told apart. Nichol & Dhariwal (2021, eq. 17) therefore let $\bar\alpha$ follow a cosine:
#
# $$\bar\alpha_t = \frac{f(t)}{f(0)}, \qquad f(t) = \cos^2\left(\frac{t/T + s}{1 + s}\cdot\frac{\pi}{2}\right), \qquad
# s = 0.008, \qquad \beta_t = \min\left(1 - \frac{\bar\alpha_t}{\bar\alpha_{t-1}},\; 0.999\right)$$
#
# ### Exercise 1: write it
#
# `alpha_bars` holds $\bar\alpha_0, \dots, \bar\alpha_T$, so it has $T + 1$ values. `betas` holds $\beta_1, \dots,
# \beta_T$. Run the second cell as often as you like: it names the mistake.


# %%
def cosine_schedule(steps):
    """Return alpha_bars [steps + 1] and betas [steps]."""
    alpha_bars = None  # your code
    betas = None  # your code
    return alpha_bars, betas


# %%
right = check_cosine_schedule(cosine_schedule)


# %% tags=["hide-input"] jupyter={"source_hidden": true} cellView="form"
# @title Solution
def cosine_schedule_solution(steps, s=0.008):
    """Return alpha_bars [steps + 1] and betas [steps]."""
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = torch.cos((t + s) / (1 + s) * math.pi / 2) ** 2
    alpha_bars = f / f[0]
    betas = (1 - alpha_bars[1:] / alpha_bars[:-1]).clamp(max=0.999)
    return alpha_bars, betas


right = check_cosine_schedule(cosine_schedule_solution)

# %% [markdown]
# Three schedules side by side. Half of the signal is left after a quarter of the linear schedule's way, and in the
# middle of the others'. A schedule that spends its steps evenly gives the network more to learn from at each of them.

# %%
grid = torch.linspace(0, 1, 501, dtype=torch.float64)
schedules = {"linear": LinearSchedule(T), "cosine": CosineSchedule(T), "sigmoid": SigmoidSchedule(T)}
signal_comparison({name: s.signal(grid) for name, s in schedules.items()}, grid, r"$\bar\alpha(t)$")

# %% [markdown]
# ## The network
#
# The network is given $x_t$ and $t$, and predicts the noise $\varepsilon$ in it. It must put out a picture of the same
# size, see large shapes, and still place fine lines: a U-Net (Ronneberger et al. 2015) goes down to small, wide maps
# and up again, and carries each map of the way down across to the way up. Here are the shapes as they occur.

# %%
network = parts.network


def show(name):
    """Return a hook that prints the shapes of a block's input, of what comes from below, and of its output."""

    def hook(block, inputs, named, output):
        below = f" and {list(named['below'].shape)} from below" if "below" in named else ""
        print(f"{name:8}{list(inputs[0].shape)}{below} → {list(output.shape)}")

    return hook


blocks = [("down", block) for block in network.encoder]
blocks += [("bottom", network.bottleneck), *(("up", block) for block in network.decoder)]
hooks = [block.register_forward_hook(show(name), with_kwargs=True) for name, block in blocks]
with torch.no_grad():
    network(images[:1], torch.tensor([5.0]))
for hook in hooks:
    hook.remove()
print(f"{sum(p.numel() for p in network.parameters()):,} parameters")

# %% [markdown]
# The time enters each block as a vector of sines and cosines of many frequencies, the *sinusoidal embedding* of
# transformers (Vaswani et al. 2017). Three of the 64 numbers are shown: fast waves tell neighbouring steps apart, slow
# ones say roughly where in the process we are. A plain number $t$ would have to be pulled apart by the network itself.

# %%
steps = torch.arange(T)
embedding = network.position(steps)
curves_figure(
    [Curve(f"number {k}", "step index", "value", steps, embedding[:, k]) for k in (9, 16, 24)], "Embedding of the time"
)

# %% [markdown]
# ## The loss
#
# DDPM's loss (eq. 14, "simple") is the plain squared error of the predicted noise, at a random step:
#
# $$L = \mathbb E_{x_0,\, t,\, \varepsilon}\;
# \big\| \varepsilon - \varepsilon_\theta(\sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\varepsilon,\; t) \big\|^2$$
#
# By hand, for one batch and the untrained network; then by the objective that training uses, with the same noise.

# %%
count = len(images)
t = torch.linspace(1, T, count).round().double() / T
noise = Noise(torch.arange(count), 0, "loss")
eps = noise.at("noise").normal(images.shape[1:])
alpha_bars = schedule.alpha_bar[(t * T).round().long()].float().reshape(-1, 1, 1, 1)
x_t = alpha_bars.sqrt() * images + (1 - alpha_bars).sqrt() * eps
with torch.no_grad():
    predicted = network(x_t, (t * T - 1).float())
    print(f"by hand:       {((eps - predicted) ** 2).mean():.6f}")
    terms = parts.module.objective(parts.module.denoiser, images, t, noise)
    print(f"the library's: {terms['loss'].mean():.6f}")

# %% [markdown]
# The loss begins near 1: whoever predicts no noise at all is wrong by its variance, which is 1.
#
# ## Training
#
# One call, and the run is a folder: its config, weights, losses, figures and samples. A terminal would say
# `python scripts/train.py` and the same recipe. At the end, the run draws 64 samples by itself.

# %%
run = diffusion_lab.train(f"{RECIPE} {NETWORK} name=walkthrough_1 sampling.num_samples=64")

# %%
metrics = run.folder.read_json("metrics.json")
loss_curve(metrics["epochs"], "mean squared error of the noise")

# %% [markdown]
# Which steps are hard? The same loss, step by step, on held-out images. With much noise in the picture, the noise is
# easy to see; with hardly any, it is nearly lost, and the error is large. The mean in the curve above hides that.

# %%
held_out, _ = run.parts.data.split("val", 64)
denoiser, process = run.parts.pipeline.denoiser, run.parts.process
device = next(run.parts.network.parameters()).device
held_out = held_out.to(device)
rows = torch.arange(len(held_out), device=device)


def at(i, count):
    """Return the time of step index i for so many samples."""
    return torch.full((count,), (i + 1) / T, dtype=torch.float64, device=device)


indices = sorted({round((T - 1) * (k / 24) ** 2) for k in range(25)})
losses = []
with torch.no_grad():
    for i in indices:
        noised = process.sample(held_out, at(i, len(held_out)), Noise(rows, 0, "by step"))
        losses.append((denoiser(noised.z_t, noised.t).eps - noised.eps).square().mean().item())
curves_figure(
    [Curve("", "step index", "mean squared error of the noise", torch.tensor(indices), torch.tensor(losses))],
    "The loss at each step",
)

# %% [markdown]
# Whoever knows the noise knows the picture: solve eq. 4 for $x_0$. So the network can guess the digit at any step:
#
# $$\hat x_0 = \frac{x_t - \sqrt{1-\bar\alpha_t}\,\hat\varepsilon}{\sqrt{\bar\alpha_t}}$$
#
# With little noise the guess is sharp and right. With much, it is a blur: the mean of all digits that $x_t$ may have
# been, and more cannot be known. This is why one step from noise makes no picture, and many small steps do.

# %%
steps = [round(share * (T - 1)) for share in (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8)]
seen, guessed = [], []
with torch.no_grad():
    for i in steps:
        noised = process.sample(held_out[:2], at(i, 2), Noise(rows[:2], 0, "guesses"))
        seen.append(noised.z_t)
        guessed.append(denoiser(noised.z_t, noised.t).x0)
both = [torch.stack([s[0], g[0], s[1], g[1]]) for s, g in zip(seen, guessed, strict=True)]
labels_of_steps = [f"t = {i}" for i in steps]
draw_image_grid(replace(strip_sheet(both, labels_of_steps, "What the network sees, and below it its guess"), size=0.7))

# %% [markdown]
# ## The reverse step
#
# From $x_t$ to $x_{t-1}$ (DDPM, algorithm 2):
#
# $$x_{t-1} = \frac{1}{\sqrt{\alpha_t}} \left( x_t - \frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\,
# \varepsilon_\theta(x_t, t) \right) + \sigma_t z, \qquad \alpha_t = 1 - \beta_t, \qquad \sigma_t^2 = \beta_t$$
#
# The bracket takes away the share of the noise that this one step had added; the division undoes its shrinking. Then
# *new* noise $z$ is added, since $x_{t-1}$ is noisy, too, and its noise is unknown. The last step adds none.
#
# ### Exercise 2: write it
#
# Index `i` runs from 0 to $T-1$, as the rows of `betas` and `alpha_bars` do; the last step is the one at `i = 0`.


# %%
def reverse_step(x, eps, i, z, betas, alpha_bars):
    """Return the state at index i − 1.

    x: the state at index i, [B, C, H, W]; eps: the noise that the network predicts in it; z: new noise;
    betas, alpha_bars: [T].
    """
    # your code


# %%
step = reverse_step if check_reverse_step(reverse_step) else None


# %% tags=["hide-input"] jupyter={"source_hidden": true} cellView="form"
# @title Solution
def reverse_step_solution(x, eps, i, z, betas, alpha_bars):
    """Return the state at index i − 1."""
    beta, alpha_bar = betas[i], alpha_bars[i]
    mean = (x - beta / (1 - alpha_bar).sqrt() * eps) / (1 - beta).sqrt()
    return mean + beta.sqrt() * z if i > 0 else mean


if check_reverse_step(reverse_step_solution):
    step = step or reverse_step_solution

# %% [markdown]
# A step is right if it agrees with the library's in the formula. Does it also make the same *pictures*? Noise in this
# library has an address: the noise of sample 3 in step 17 of seed 0 is always the same, and can be asked for. So we let
# our own loop walk from the same noise as the run's own samples, and subtract. (Once your own step is right, the loop
# uses yours.)


# %%
def own_samples(step, count, scale=1.0):
    """Draw samples by a reverse step of one's own; return them, and the states at every tenth of the way."""
    schedule = run.parts.process.schedule
    betas, alpha_bars = (table.float().to(device) for table in (schedule.betas, schedule.alpha_bar[1:]))
    noise = Noise(torch.arange(count, device=device), run.settings.sampling.seed, "sample")
    shape = run.parts.pipeline.shape
    x = noise.at("prior").normal(shape)
    states, times = [x], [1.0]
    with torch.no_grad():
        for number, i in enumerate(reversed(range(T))):
            eps = run.parts.pipeline.denoiser(x, at(i, count)).eps
            x = step(x, eps, i, scale * noise.at("step", number).normal(shape), betas, alpha_bars)
            if i % (T // 10) == 0:
                states.append(x)
                times.append(i / T)
    return x.clamp(-1, 1).cpu(), states, times


own, states, times = own_samples(step, 16)
samples = torch.from_numpy(np.load(run.folder.samples / "final.npy"))  # the 64 that the run has drawn
print(f"the largest difference of any pixel: {(own - samples[:16]).abs().max():.0e}")

# %% [markdown]
# ## From noise to pictures
#
# The states of the first four samples on their way. In the first half one sees nothing happen; then, within a few
# hundred steps, the digit is decided, and the rest is cleaning.

# %%
draw_image_grid(replace(denoising_sheet([state.cpu() for state in states], times, T), size=0.7))

# %% [markdown]
# All 64 samples of the run, and ten of them below real ones. Some are digits, and many are strokes that could have
# become one: this small network sees strokes better than it sees digits. It is the tutorials' network; others see more.

# %%
draw_image_grid(grid_sheet(samples, f"64 samples after {run.step:,} steps of training"))

# %%
draw_image_grid(real_and_generated_sheet(images[:10], samples[:10], parts.data.item))

# %% [markdown]
# How good are they? A look can deceive, so we also measure. A small classifier that comes with the library turns images
# into features, and the Fréchet distance (Heusel et al. 2017, the "FID" with another network) tells how far the samples
# are from real digits as a crowd. It is meaningful only beside others with the same number of images, such as that of
# as many real digits.

# %%
judge = OwnFeatures(run.settings.paths.data_dir).load_extractor(run.parts.data)
test, _ = run.parts.data.split("test")
reference = judge(test[64:1064])[0]


def distance(images):
    """Return the Fréchet distance of 64 images to real ones; the lower, the better."""
    return frechet_distance(reference, judge(images)[0])


print(f"samples {distance(samples):.1f}, as many real digits {distance(test[:64]):.1f}")

# %% [markdown]
# ## What if …
#
# Four questions that readers of the DDPM paper ask. Think about each before you run its cell. The experiments are
# short, a fifth of the training above, so each is held against a *baseline* of the same length. All differ from it in
# one override.

# %%
SHORT = EPOCHS * BATCHES // 5
SHORT_RECIPE = (
    f"{RECIPE} trainer.max_epochs=1 trainer.limit_train_batches={SHORT} lr_schedule.decay_steps={SHORT} "
    f"lr_schedule.warmup_steps={SHORT // 10} ema.decay=0.99 clip=x0 sampler.variance=beta_tilde "
    f"sampler.num_steps={T // 10} sampling.num_samples=1 console=bar"
)


def experiment(name, changes):
    """Train a short run with these changes; print its validation loss and show some of its samples."""
    run = diffusion_lab.train(f"{SHORT_RECIPE} name={name} {changes}")
    loss = run.folder.read_json("metrics.json")["epochs"][-1]["val/loss"]
    samples = run.sample(64)
    size = sum(weight.numel() for weight in run.parts.network.parameters())
    print(f"{name}: {size:,} parameters, validation loss {loss:.4f}, distance {distance(samples):.1f}")
    return run, draw_image_grid(grid_sheet(samples[:16], name))


baseline, figure = experiment("baseline", NETWORK)
figure

# %% [markdown]
# ### … the network did not know the time?
#
# A network of one's own is a class. This one is the U-Net above, but it is told the same time always.
# `DIFFUSION_LAB_TRUST` lets a config name classes of this notebook.


# %%
class BlindUNet(SimpleUNet):
    """The U-Net of this notebook, which does not know the time."""

    def forward(self, x, c_noise, condition=None):
        return super().forward(x, torch.zeros_like(c_noise), condition)


os.environ["DIFFUSION_LAB_TRUST"] = "__main__"
blind, figure = experiment("blind", f"{NETWORK} network._target_=__main__.BlindUNet")
figure

# %% [markdown]
# The blind network loses little: the loss is hardly higher, since a noisy picture itself shows how noisy it is. But
# look at the samples. Some have stayed grey. A likely reason: a step takes away as much as the schedule says, and if
# the network misjudges how noisy the state is, the next step starts from a worse state, and nothing corrects it. Time
# is cheap to give, and it says what a picture alone leaves in doubt.

# %% [markdown]
# ### … the schedule were aggressive?
#
# Five times the noise in every step: $\beta$ up to 0.1. (Losses of two schedules must not be compared: they are
# means over different noise levels. The distances may be.)

# %%
harsh = LinearSchedule(T, beta_end=0.1)
for name, s in (("baseline", schedule), ("aggressive", harsh)):
    print(f"{name}: {(s.alpha_bar < 0.001).double().mean():.0%} of the steps have less than 0.1 % of the signal")
aggressive, figure = experiment("aggressive", f"{NETWORK} schedule.beta_end=0.1")
figure

# %% [markdown]
# Nothing breaks, and that is the first lesson: any path from data to noise can be walked back. But most steps lie where
# no signal is left. There the network learns to copy its input, which is why the loss is lower, and says nothing of the
# pictures. Less than half as many steps as before are left to make the picture, in training and in sampling: the
# distance has grown. The cosine schedule goes the other way, and spends its steps more evenly.

# %% [markdown]
# ### … σ were larger?
#
# No training is needed: our own loop can multiply the new noise. $\sigma^2=\beta$ is in the middle row.

# %%
scales = torch.tensor([0.0, 0.8, 1.0, 1.1, 1.3])
each = scales.repeat_interleave(8).reshape(-1, 1, 1, 1).to(device)
tried, _, _ = own_samples(step, len(each), each)
names = [f"{scale:.1f} σ" for scale in scales.tolist()]
draw_image_grid(Sheet("The noise of every step, multiplied", tried.split(8), names=names, size=0.75))

# %% [markdown]
# New noise is not decoration. Each step takes away as much as the schedule says has been added, and must put back what
# the state at the next step has by right. With less of it the states become cleaner than their step says; the network
# smooths them further, strokes become thin, and without any noise all is black: the mean of all digits is mostly
# background. With more, they become noisier than their step says, and the surplus piles up over a thousand steps until
# nothing is left of the picture. The paper's two choices, $\beta$ and $\tilde\beta$, differ by far less than a tenth in
# nearly all steps.

# %% [markdown]
# ### … it were a Transformer?
#
# A DiT (Peebles & Xie 2023) cuts the picture into patches of 4×4 pixels, and lets every patch look at every other one.
# Only the number of its place, which each patch carries, says which are neighbours.

# %%
transformer, figure = experiment("transformer", "network=dit network.width=96 network.depth=4 network.heads=3")
figure

# %% [markdown]
# Seams between the patches: after so few steps it has not learned that a stroke goes on beyond the edge of a patch,
# which a convolution knows from the start. That is the bargain: fewer assumptions, more training.
# `experiment=dit_mnist` trains a larger one for 2,650 steps, and its digits are whole.
#
# And look at the numbers. By its loss it is worse than the baseline, by the distance it is better, though it has more
# than five times as many parameters, and to the eye neither has drawn a digit. The classifier minds the baseline's grey
# backgrounds more than seams. Whoever had looked at one number alone would have been sure of something.
#
# ## Where to go from here
#
# - Notebook 2: Fashion-MNIST, pictures by class, 20 steps in the place of 1,000, and flow matching and EDM.
# - `python scripts/train.py experiment=mnist_best` for better digits; the page on recipes shows them.
# - [Add a schedule](../how-to/add_schedule.md): your own, as a class and a YAML, beside the library's.
