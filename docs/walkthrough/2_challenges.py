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
# # 2. The challenges
#
# Notebook 1 built a DDPM: digits, a thousand steps, no say in what is drawn. Here are the challenges that tutorials
# leave to the reader: harder pictures, pictures *of something*, and few steps. At the end, v-prediction, flow matching
# and EDM turn out to be one family, which you see by numbers and by pictures of one and the same network.
#
# It takes about eight minutes on two CPU cores, plus the download of Fashion-MNIST (31 MB).

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
# The settings are those of notebook 1: `fashion_mnist` is downloaded to `data/`, or read from `DIFFUSION_LAB_DATA_DIR`;
# `digits` is bundled and quick, and only shows that the code works. What the text says of results is about
# Fashion-MNIST.

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 72}
import math
import os

import torch

import diffusion_lab
from diffusion_lab.figures import Sheet, curves_figure, draw_image_grid, grid_sheet, inversion_sheet
from diffusion_lab.metrics.frechet_distance import frechet_distance
from diffusion_lab.metrics.own_features import OwnFeatures
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import EDM, X0, Eps, GaussianPrediction, V, Velocity
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DDIM, draw
from diffusion_lab.sampling.grids import TimeGrid
from diffusion_lab.schedules import CosineSchedule, Curve, EDMSchedule, FlowSchedule

DATA = os.environ.get("WALKTHROUGH_DATA", "fashion_mnist")  # or "digits"
SMALL = DATA == "digits"
STEPS = 60 if SMALL else 1200
WIDTH, ATTENTION = (16, 4) if SMALL else (32, 7)

# %% [markdown]
# ## Harder pictures, and labels
#
# Fashion-MNIST has the size of MNIST and pictures of clothing: more grey, more detail, ten classes. The recipe changes
# with it. Each line is one choice that is known to be better than DDPM's first one:
#
# - a residual U-Net with attention on patches of 2×2 pixels (Dhariwal & Nichol 2021): more to see for each operation;
# - the network is told the *label*, and in one of ten cases it is not, so that it learns both: pictures of a class, and
#   pictures;
# - the cosine schedule in continuous time, and $v$ in the place of the noise as what is predicted (see the end);
# - times spread evenly over each batch (Kingma et al. 2021), with more of them in the middle (Esser et al. 2024);
# - AdamW with a warm-up and a cosine decay, and an average of the weights for sampling.

# %%
RECIPE = (
    f"data={DATA} data.batch_size=64 "
    f"network=unet network.patch_size=2 network.base_channels={WIDTH} network.channel_multipliers=[1,2] "
    f"network.num_blocks=1 network.attention_sizes=[{ATTENTION}] network.head_channels={WIDTH} "
    "network.learned_resampling=false network.labels=true network.condition_dropout=0.1 "
    "schedule=cosine schedule.steps=null parameterization=v "
    "time_sampling=logit_normal time_sampling.std=1.4 time_sampling.stratified=true "
    f"optimizer=adamw optimizer.lr=4e-3 trainer.gradient_clip_val=1 ema=default ema.decay=0.997 "
    f"lr_schedule=warmup_cosine lr_schedule.warmup_steps={STEPS // 10} lr_schedule.decay_steps={STEPS} "
    f"trainer.max_epochs=6 trainer.limit_train_batches={STEPS // 6} trainer.limit_val_batches=16 "
    "sampler=dpmpp_2m sampler.num_steps=20 grid=uniform_log_snr sampling.num_samples=60 "
    "callbacks.samples.every_n_epochs=0"
)
run = diffusion_lab.train(f"{RECIPE} name=walkthrough_2")

# %%
CLASSES = run.parts.pipeline.labels
LABELS = torch.arange(CLASSES).repeat(6)  # six of each class, in turn
device = next(run.parts.network.parameters()).device
samples = run.sample(len(LABELS), seed=1, condition=LABELS)
draw_image_grid(grid_sheet(samples, "Six samples of each class, in 20 steps", LABELS))

# %% [markdown]
# ## Classifier-free guidance
#
# The network has learned two predictions: $\hat x_0(z, c)$ with the label and $\hat x_0(z)$ without. Ho & Salimans
# (2022) walk from the second through the first and beyond:
#
# $$\tilde x_0 = \hat x_0(z) + w\,\big(\hat x_0(z, c) - \hat x_0(z)\big)$$
#
# $w = 0$ ignores the label, $w = 1$ takes it as it is, $w > 1$ exaggerates what the label changes. (Some papers and
# libraries call $w - 1$ the scale.) By hand, on one noisy batch; then by the library.

# %%
guided = diffusion_lab.load_run(run.folder.path, overrides="guidance=cfg guidance.scale=3 clip=none")
process, denoiser = guided.parts.process, guided.parts.pipeline.plain_denoiser
rows = torch.arange(8, device=device)
images, labels = (part.to(device) for part in guided.parts.data.split("val", 8))
t = torch.full((8,), 0.6, dtype=torch.float64, device=device)
z = process.sample(images, t, Noise(rows, 0, "guidance")).z_t
with torch.no_grad():
    with_label = denoiser(z, t, labels).x0
    without = denoiser(z, t, torch.full_like(labels, CLASSES)).x0  # one label more than there are classes: none
    by_hand = without + 3 * (with_label - without)
    library = guided.parts.pipeline.denoiser(z, t, labels).x0
print(f"the largest difference: {(by_hand - library).abs().max():.0e}")

# %% [markdown]
# The same noise at four scales. With $w = 0$ the rows do not know what they are to show. The larger $w$ is, the more
# typical each picture is of its class, and the more alike are the pictures of a class: quality for variety.


# %%
def variant(overrides):
    """Return the run with another sampler, grid, guidance or clipping."""
    return diffusion_lab.load_run(run.folder.path, overrides=overrides)


SCALES = (0, 1, 2, 5)
GUIDED = {w: variant(f"guidance=cfg guidance.scale={w}").sample(len(LABELS), seed=1, condition=LABELS) for w in SCALES}
shown = [torch.cat([GUIDED[w][LABELS.eq(c)][:3] for w in SCALES]) for c in range(CLASSES)]
columns = [f"w = {w}" if k == 1 else "" for w in SCALES for k in range(3)]
draw_image_grid(Sheet("The same noise, guided", shown, columns, [str(c) for c in range(CLASSES)], size=0.6, group=3))

# %% [markdown]
# In numbers: how often a classifier that has seen real pictures alone finds the class that was asked for, and the
# *spread*, the mean distance of two samples of one class in its features. Compare with the last row: with much guidance
# the class is found more often than in real pictures, and the spread has fallen far below theirs.

# %%
judge = OwnFeatures(run.settings.paths.data_dir).load_extractor(run.parts.data)


def judged(samples, labels):
    """Return the share of samples in which the label is found, and the mean distance within a class."""
    features, logits = judge(samples)
    spreads = [torch.pdist(features[labels.eq(c)]).mean() for c in labels.unique()]
    return (logits.argmax(1) == labels).double().mean().item(), torch.stack(spreads).mean().item()


real, real_labels = run.parts.data.split("test", 500)
for name, drawn, asked in [(f"w = {w}", GUIDED[w], LABELS) for w in SCALES] + [("real", real, real_labels)]:
    found, spread = judged(drawn, asked)
    print(f"{name:6} label found in {found:4.0%}, spread {spread:.2f}")

# %% [markdown]
# ## DDIM: no new noise
#
# DDPM adds new noise in every step. DDIM (Song, Meng & Ermon 2021, eq. 12) adds none:
#
# $$z_s = \alpha_s\,\hat x_0 + \sigma_s\,\hat\varepsilon$$
#
# It takes the guess of the data and the guess of the noise, and mixes them anew for the next, lower noise level. So the
# picture is a function of the starting noise alone. Three things follow. First, *the number of steps hardly matters*
# for what is drawn. Rows below have the same noise; the last one draws new noise in each step ($\eta = 1$), and ends
# elsewhere.

# %%
tried = {
    "4 steps": "sampler=ddim sampler.num_steps=4",
    "10 steps": "sampler=ddim sampler.num_steps=10",
    "50 steps": "sampler=ddim sampler.num_steps=50",
    "50, η = 1": "sampler=ddim sampler.num_steps=50 sampler.eta=1",
}
drawn = [variant(overrides).sample(CLASSES, seed=3) for overrides in tried.values()]
draw_image_grid(Sheet("DDIM from the same noise", drawn, names=list(tried), size=0.7))

# %% [markdown]
# Second, noise can be mixed, and the pictures change smoothly. Two Gaussian noises must be mixed on a circle, or their
# mixture would be too weak: $\cos\varphi\; z + \sin\varphi\; z'$ is standard normal for every $\varphi$.

# %%
ddim = variant("sampler=ddim sampler.num_steps=20")
ends = Noise(torch.arange(6), 11, "ends").normal(ddim.parts.pipeline.shape)
angles = torch.linspace(0, math.pi / 2, 9).reshape(-1, 1, 1, 1)
start = torch.cat([angles.cos() * a + angles.sin() * b for a, b in zip(ends[:3], ends[3:], strict=True)])
labels = torch.tensor([1, 7, 9]).repeat_interleave(9)
between = ddim.sample(len(start), start=start, condition=labels)
draw_image_grid(Sheet("Between two noises, by class", between.split(9), names=["1", "7", "9"], size=0.7))

# %% [markdown]
# Third, it can be walked backwards, from a real picture to *its* noise and forth again. Nothing was trained for this.
# The noise is not quite noise: where a picture is flat, a regular pattern shows. That is the error of the network and
# of the fifty steps, and on the way back it cancels for the most part, as the RMSE says (pixels go from −1 to 1).

# %%
exact = variant("sampler=ddim sampler.num_steps=50 clip=none")
real, labels = exact.parts.data.split("test", 8)
pipeline = exact.parts.pipeline
noise = pipeline.invert(real, labels).samples
again = pipeline.draw(8, start=noise, condition=labels).samples
rmse = (again - real).square().mean().sqrt().item()
draw_image_grid(inversion_sheet(real, noise, again, exact.parts.data.item, rmse))

# %% [markdown]
# ## Few steps
#
# Without new noise, sampling is solving a differential equation, the *probability-flow ODE* (Song et al. 2021, "Score-
# based generative modeling through SDEs"), and DDIM is its simplest solver: each step assumes that $\hat x_0$ stays as
# it is. Better solvers remember the last predictions and extrapolate. All draw from the same network; the cost is the
# number of network evaluations.
#
# The Fréchet distance of the classifier's features measures how far 250 samples are from 500 real pictures; the lower,
# the better. The same number of real pictures shows what is possible.

# %%
COUNT = 50 if SMALL else 250
real_features = judge(run.parts.data.split("test", 500)[0])[0]
others = judge(run.parts.data.split("train", COUNT)[0])[0]
print(f"{'real pictures':30} {frechet_distance(real_features, others):6.2f}")
rows_of, names = [], []
for evaluations in (5, 10):
    for name, overrides in {
        "DDIM": f"sampler=ddim sampler.num_steps={evaluations}",
        "DPM-Solver++(2M)": f"sampler=dpmpp_2m sampler.num_steps={evaluations}",
        "UniPC": f"sampler=unipc sampler.num_steps={evaluations}",
        "iPNDM": f"sampler=ipndm sampler.num_steps={evaluations}",
        "Heun": f"sampler=heun sampler.num_steps={(evaluations + 1) // 2}",
    }.items():
        result = variant(f"{overrides} grid=uniform_log_snr").parts.pipeline.draw(COUNT, seed=5)
        distance = frechet_distance(real_features, judge(result.samples)[0])
        print(f"{name:18} {result.evaluations:4.0f} evaluations {distance:6.2f}")
        rows_of.append(result.samples[:10])
        names.append(f"{name}, {result.evaluations:.0f}")
draw_image_grid(Sheet("Few evaluations, the same noise", rows_of, names=names, size=0.6))

# %% [markdown]
# Solvers of higher order need fewer evaluations than DDIM, but order alone does not win: Heun's method pays twice for
# each step, so it has half as many, and with so few on this grid it fails. (EDM uses it on another one, `grid=karras`,
# and with 18 steps.) Which solver is best depends on the network, the grid and the number of evaluations. So measure,
# on the network at hand; `python scripts/evaluate.py` does it with more samples.

# %% [markdown]
# ## One family: v, flow, EDM
#
# Every Gaussian diffusion mixes data and noise,
#
# $$z = \alpha\,x_0 + \sigma\,\varepsilon,$$
#
# and they differ in two choices: *how $\alpha$ and $\sigma$ go with time*, and *which combination of $x_0$ and
# $\varepsilon$ the network puts out*. First the paths: variance preserving (DDPM, cosine), the straight line of flow
# matching (Lipman et al. 2023), and EDM, which leaves the data as it is and adds noise up to σ = 80 (Karras et al.
# 2022).

# %%
t = torch.linspace(0.001, 0.999, 400, dtype=torch.float64)
paths = {"cosine": CosineSchedule(None), "flow": FlowSchedule(), "EDM": EDMSchedule()}
curves_figure(
    [Curve(name, r"$\alpha$", r"$\sigma$", path.alpha(t), path.sigma(t)) for name, path in paths.items()],
    "The path from data (below) to noise (above)",
)

# %% [markdown]
# What counts is the ratio $\alpha/\sigma$: two states with the same signal-to-noise ratio are the same picture, up to a
# factor. Now the outputs. Whatever the network predicts, the guess of the data $\hat x_0 = \mathbb E[x_0 \mid z]$ can
# be solved from it, since $z$ is known:
#
# | predicted | definition | $\hat x_0$ |
# | --- | --- | --- |
# | noise (DDPM) | $\varepsilon$ | $(z - \sigma\varepsilon)/\alpha$ |
# | $v$ (Salimans & Ho 2022) | $\alpha\varepsilon - \sigma x_0$ | $(\alpha z - \sigma v)/(\alpha^2 + \sigma^2)$ |
# | velocity $u$ | $\alpha' x_0 + \sigma'\varepsilon$ | $(\sigma' z - \sigma u)/(\alpha\sigma' - \sigma\alpha')$ |
# | EDM's $F$ (Karras et al. 2022) | $x_0 = c_\text{skip}\,z/\alpha + c_\text{out} F$ | as defined |
#
# ($\alpha'$ and $\sigma'$ are derivatives with respect to time; on flow's straight path, $u = \varepsilon - x_0$.) A
# check: give each its perfect output, the training target, and let the library solve for the data. Noise alone says
# nothing of the data where $\alpha = 0$, and no signal is left; a path that ends there is refused.

# %%
x0, _ = run.parts.data.split("val", 8)
rows = Noise(torch.arange(8), 0, "family")
t = torch.linspace(0.1, 0.9, 8, dtype=torch.float64)
for path_name, path in paths.items():
    process = Gaussian(path)
    noised = process.sample(x0, t, rows)
    errors = []
    for kind in (Eps, X0, V, Velocity, EDM):
        if kind is Eps and path.alpha(torch.ones(1)) == 0:
            continue
        parameterization = kind(process)
        solved = parameterization.prediction(parameterization.target(noised), noised.z_t, t).x0
        errors.append(f"{kind.__name__} {(solved - x0).abs().max():.0e}")
    print(f"{path_name:8}", ", ".join(errors))

# %% [markdown]
# So a network that was trained on one path can draw on every other. Ours knows the cosine path. To ask it about a state
# of another path, find the cosine's time with the same signal-to-noise ratio, and scale the state to $\alpha^2 +
# \sigma^2 = 1$. Then DDIM, on three paths, from the same noise, at the same twenty noise levels:


# %%
class SameLevels(TimeGrid):
    """Times of the same log-SNRs, whatever the path."""

    def times(self, num_steps):
        return self.schedule.time(torch.linspace(-8.7, 9, num_steps, dtype=torch.float64)).tolist()


def on_path(path, trained):
    """Return the trained denoiser for states of another path."""

    def denoiser(z, t, condition):
        own = trained.parameterization.process.schedule.time(path.log_snr(t))
        scale = (path.alpha(t) ** 2 + path.sigma(t) ** 2).sqrt().float().reshape(-1, 1, 1, 1)
        return GaussianPrediction.of(Gaussian(path), z, t, trained(z / scale, own, condition).x0, "x0")

    return denoiser


pipeline = run.parts.pipeline
rows = torch.arange(CLASSES, device=device)
noise = Noise(rows, 21, "paths")
pictures = []
for name, path in paths.items():
    sampler = DDIM(Gaussian(path), SameLevels(path), num_steps=20)
    first = torch.tensor(sampler.steps[0][0], dtype=torch.float64)
    start = noise.normal(pipeline.shape) * float((path.alpha(first) ** 2 + path.sigma(first) ** 2).sqrt())
    pictures.append(draw(on_path(path, pipeline.plain_denoiser), sampler, start, noise, rows).clamp(-1, 1).cpu())
    print(f"{name:8} differs from the cosine's pictures by at most {(pictures[-1] - pictures[0]).abs().max():.0e}")
draw_image_grid(Sheet("One network, three paths", pictures, names=list(paths), size=0.7))

# %% [markdown]
# If paths and outputs are interchangeable, what do the methods differ in? In *what training cares about*. An error of
# the output is an error of the data times a factor that depends on the noise level: predicting noise counts errors of
# the data by the signal-to-noise ratio, so nearly clean pictures count most; $v$ counts them by SNR + 1, so very noisy
# ones count, too; flow and EDM draw the line in other places. On the cosine path:

# %%
t = torch.linspace(0.02, 0.98, 200, dtype=torch.float64)
process = Gaussian(paths["cosine"])
log_snr = process.schedule.log_snr(t)
curves_figure(
    [
        Curve(kind.__name__, "log-SNR", "log10 of the weight", log_snr, -kind(process).data_error(t).log10())
        for kind in (X0, Eps, V, Velocity, EDM)
    ],
    "How much an error of the data counts",
)

# %% [markdown]
# The same in numbers, with our network: the squared error of $v$, divided by that of the data, is SNR + 1 at each time.

# %%
x0, labels = (part.to(device) for part in run.parts.data.split("val", 16))
for time in (0.2, 0.5, 0.8):
    t = torch.full((16,), time, dtype=torch.float64, device=device)
    noised = run.parts.process.sample(x0, t, Noise(torch.arange(16, device=device), 0, "weights"))
    with torch.no_grad():
        predicted = pipeline.plain_denoiser(noised.z_t, t, labels)
    true_v = V(run.parts.process).target(noised)
    ratio = (predicted.v - true_v).square().mean() / (predicted.x0 - x0).square().mean()
    print(f"t = {time}: ratio {ratio:.3f}, SNR + 1 = {run.parts.process.schedule.log_snr(t)[0].exp() + 1:.3f}")

# %% [markdown]
# So a method is a list of choices, and a config can mix them. These train the members of the family on MNIST, with the
# same network; the page on recipes holds them side by side:
#
# ```
# python scripts/train.py experiment=fast_mnist      # v, cosine
# python scripts/train.py experiment=flow_mnist      # velocity, the straight path
# python scripts/train.py experiment=edm_mnist       # EDM's path, preconditioning, weight and times
# ```
#
# Notebook 3 leaves Gaussian noise: text is destroyed by masks.
