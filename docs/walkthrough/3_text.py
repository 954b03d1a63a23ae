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
# # 3. Text
#
# Diffusion for images adds Gaussian noise to pixels. What is noise for *words*? In this notebook you
#
# 1. see why Gaussian noise on token ids fails;
# 2. write the forward process of masked diffusion, and check it against the library's;
# 3. see, by counting every case of a tiny language, that its training loss is a bound on the likelihood;
# 4. train a small masked model, write its reverse step, draw text from it, and let it fill in blanks;
# 5. meet two rivals, scores (SEDD) and vectors (Diffusion-LM), and compare all three after equally many steps.
#
# It takes about six minutes on two CPU cores and needs no network: the text is the documentation that Python brings.
# Notation is that of the papers: $t$ runs from 0 (clean) to 1 (destroyed), $V$ is the number of tokens, $L$ the
# length of a sequence.

# %%
# On Colab, or wherever the package is missing, this installs it. It is in no package registry yet: say where it lies.
# Untried on Colab.
import importlib.util
import subprocess
import sys

PACKAGE = ""  # a wheel, a folder, or git+https://… of Diffusion Lab
if importlib.util.find_spec("diffusion_lab") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", PACKAGE], check=True)

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 72}
import io
import itertools
import math
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Image
from torch.nn import functional

import diffusion_lab
from diffusion_lab import figures
from diffusion_lab.distributions import Categorical
from diffusion_lab.figures import Token, TokenStrip, strip_figure, text_noise
from diffusion_lab.likelihood import EmbeddingBoundNLL, TokenBoundNLL
from diffusion_lab.metrics.ngram_model import NgramModel
from diffusion_lab.metrics.text_variety import token_entropy
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Substitution
from diffusion_lab.processes import Absorbing
from diffusion_lab.runs.run_figures import reconstruction_figures
from diffusion_lab.sampling import GivenTokens, State, Trajectory, Tweedie
from diffusion_lab.sampling.grids import Trailing
from diffusion_lab.schedules import (
    LogLinearSchedule,
    PolynomialSchedule,
    SurvivalCosineSchedule,
    SurvivalSquaredCosineSchedule,
)
from diffusion_lab.walkthrough import check_mask_tokens, check_reverse_probs

# The text: python_docs (no download), or tiny_shakespeare (1 MB, downloaded). "digits" stands for the quickest form.
DATA = os.environ.get("WALKTHROUGH_DATA", "python_docs")
QUICK = DATA == "digits"
STEPS, HELD_OUT, SAMPLES = (30, 32, 8) if QUICK else (400, 256, 64)
if QUICK:
    DATA = "python_docs"
print(f"data={DATA}, {STEPS} steps of training for each model")


def full_size(figure):
    """Return a figure of tokens in cells at its own resolution, at which each cell is a whole number of pixels."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=figure.dpi)
    return Image(picture.getvalue())


# %% [markdown]
# ## 1. Gaussian noise on token ids
#
# A token id is a *name*, not a quantity. Word 3420 is no closer in meaning to word 3421 than word 7 is: ids are given
# out in some order, and nothing else. So $\mathrm{id} + \sigma\varepsilon$ is the id of an unrelated word. It is not
# a noisy version of the word, and no network can learn what it was from how far it has moved.
#
# Below, the same noise is read in a vocabulary of six words, where most ids are no word at all, and in a full one,
# where every id is a word, usually a wrong one. On the right, tokens are *masked* instead: each is either itself or
# `[MASK]`.

# %%
ids = [text_noise.SIX_WORDS[word] for word in text_noise.SENTENCE]
noisy = text_noise.gaussian_rows(ids, sigmas=[0, 50, 200, 500], seed=0)
masked = text_noise.mask_rows(text_noise.SENTENCE, text_noise.RATIOS, seed=0)
text_noise.figure(noisy, masked, text_noise.full_vocabulary())

# %% [markdown]
# ## 2. Masking: the forward process
#
# Masked diffusion destroys each token by itself: by time $t$ it is still there with probability $\alpha_t$, and it is
# the mask $m$ with probability $1 - \alpha_t$ (D3PM, Austin et al. 2021, the absorbing state; MDLM, Sahoo et al.
# 2024):
#
# $$q(z_t \mid x) = \mathrm{Cat}\big(z_t;\ \alpha_t\, x + (1 - \alpha_t)\, m\big).$$
#
# $\alpha_t$ is called the *survival* here. It falls from 1 to 0; how, is the schedule's choice. These are some, with
# the arguments that they have by default:

# %%
times = torch.linspace(0, 1, 201, dtype=torch.float64)
schedules = {
    "log_linear": LogLinearSchedule(),
    "polynomial": PolynomialSchedule(),
    "survival_cosine": SurvivalCosineSchedule(),
    "survival_squared_cosine": SurvivalSquaredCosineSchedule(),
}
figures.signal_comparison(
    {name: schedule.survival(times) for name, schedule in schedules.items()}, times, r"survival $\alpha_t$"
)

# %% [markdown]
# ### Exercise 1: mask a sequence at time t
#
# Write the forward process. You are given uniform random numbers, one for each position. A token survives where its
# number is below $\alpha_t$. `process.schedule.survival(t)` is $\alpha_t$ for each row, and `process.mask` is the id
# of the mask, which is $V$: the first id after the tokens.


# %%
def mask_tokens(tokens, t, u, process):
    """Return the states at times t.

    tokens [B, L] int64, t [B] float64, u [B, L] uniform in [0, 1) → [B, L] int64.
    """
    # your code


# %%
masking = mask_tokens if check_mask_tokens(mask_tokens) else None


# %% tags=["hide-input"] jupyter={"source_hidden": true} cellView="form"
# @title Solution
def mask_tokens_solution(tokens, t, u, process):
    """Return the states at times t."""
    survives = u < process.schedule.survival(t)[:, None]
    return torch.where(survives, tokens, process.mask)


if check_mask_tokens(mask_tokens_solution):
    masking = masking or mask_tokens_solution

# %% [markdown]
# Here is your function (until it is right, the solution's) on a sentence from the text, with the same random numbers
# for all times: a token that is lost stays lost. Every state can still be read in part, and what is missing is known
# to be missing.

# %%
parts = diffusion_lab.build(f"experiment=quickstart_text data={DATA} data.length=64")
items, _ = parts.data.split("val")  # held out from training, [N, 64] int64
vocabulary, process = parts.data.vocabulary, parts.process
row, _ = figures.sentence_of([[*vocabulary.text(row)] for row in items.tolist()], vocabulary.size)  # a readable one
tokens = items[row, None]  # [1, 64]

levels = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
u = Noise(torch.zeros(1, dtype=torch.int64), 0, "forward").uniform(tokens.shape[1:])
states = [masking(tokens, torch.tensor([t], dtype=torch.float64), u, process)[0].tolist() for t in levels]
strip = TokenStrip(
    f"The forward process: {vocabulary.size} characters and a mask",
    [f"t = {t:.1f}" for t in levels],
    [[[Token(piece) for piece in vocabulary.pieces(state)] for state in states]],
)
full_size(strip_figure(strip))

# %% [markdown]
# ## 3. The loss is a bound
#
# The network sees $z_t$ and predicts the clean token at every position: $p_\theta(x^\ell \mid z_t)$. The negative
# evidence lower bound becomes a cross-entropy at the masks, with a weight (MDLM, eq. 10):
#
# $$-\log p_\theta(x) \;\le\; \mathbb{E}_{t,\,z_t}\;\frac{-\alpha_t'}{1-\alpha_t}
#   \sum_{\ell:\ z_t^\ell = m} -\log p_\theta(x^\ell \mid z_t), \qquad t \sim U(0, 1).$$
#
# For the straight line $\alpha_t = 1 - t$ the weight is $1/t$: few masks, much weight each. (LLaDA, Nie et al. 2025,
# eq. 3, is the same loss.) No time is left if we sum over *which* positions $M$ are masked: the state has just these
# masks with probability $t^{|M|}(1-t)^{L-|M|}$, and $\int_0^1 t^{|M|-1}(1-t)^{L-|M|}\,dt =
# \frac{(|M|-1)!\,(L-|M|)!}{L!}$, so
#
# $$\text{bound}(x) = \sum_{M \neq \emptyset} \frac{(|M|-1)!\,(L-|M|)!}{L!}
#   \sum_{\ell \in M} -\log p_\theta(x^\ell \mid x_{\setminus M}).$$
#
# That can be counted out. Take a language of three-letter words over an alphabet of three, with 27 random
# probabilities, and a perfect "network": the exact conditional distribution, by summing over all words that fit.

# %%
V, L = 3, 3
tiny = Absorbing(LogLinearSchedule(), V)
words = torch.cartesian_prod(*[torch.arange(V)] * L)  # [27, 3]
joint = Noise(torch.zeros(1, dtype=torch.int64), 5, "language").uniform((V**L,))[0]
joint = joint / joint.sum()


def exact(z, c_noise, condition=None):
    """Return log p(x_l = v | the open letters of z): states [B, L] → [B, L, V]."""
    fits = ((z[:, None] == words) | (z[:, None] == tiny.mask)).all(-1)  # [B, 27]
    probs = torch.einsum("bw,wlv->blv", fits * joint, functional.one_hot(words, V).double())
    return (probs / probs.sum(-1, keepdim=True)).log()


def unigram(z, c_noise, condition=None):
    """Return the same for one who looks at no other letter."""
    return exact(torch.full_like(z, tiny.mask), c_noise)


def counted_bound(network, x):
    """Return the bound of words [N, L] in nats, summed over all ways to mask them: [N]."""
    denoiser, total = Denoiser(network, Substitution(tiny)), torch.zeros(len(x)).double()
    for where in itertools.product([False, True], repeat=L):
        if masks := sum(where):
            z = torch.where(torch.tensor(where), tiny.mask, x)
            weight = math.factorial(masks - 1) * math.factorial(L - masks) / math.factorial(L)
            total += weight * denoiser(z, torch.ones(len(x))).nll(x).sum(1)  # nll is 0 where a letter is open
    return total


truth = -joint.log()
worst = (counted_bound(exact, words) - truth).abs().max()
print(f"largest |bound − (−log p)| of the exact network, over 27 words: {worst:.1e}")
print(f"entropy of the language, in nats per word: {float(joint @ truth):.4f}")
print(f"mean bound of the exact network:           {float(joint @ counted_bound(exact, words)):.4f}")
print(f"mean bound without a look at neighbours:   {float(joint @ counted_bound(unigram, words)):.4f}")

# %% [markdown]
# With the true conditionals the bound is tight for *every* word: nothing is lost by the random order in which letters
# are revealed. Any other network is worse in the mean, so that the loss is least where the network knows the
# language.
#
# The library's loss is an unbiased estimate of that sum, at one random time for each sample. Over many times:

# %%
count = 40_000
noise = Noise(torch.arange(count), 0, "monte carlo")
x = words[5].expand(count, L)
t = 1 - noise.at("t").uniform()
z_t = tiny.sample(x, t, noise.at("state")).z_t
terms = L * tiny.bound(Denoiser(exact, Substitution(tiny))(z_t, t), x, z_t, t)  # it is in nats per token
print(f"one word: −log p = {truth[5]:.3f}, by random times {terms.mean():.3f} ± {terms.std() / count**0.5:.3f}")

# %% [markdown]
# ## 4. A masked model, trained in a minute or two
#
# Now a real network: the recipe `quickstart_text`, a bidirectional transformer of 0.6 million parameters, here on
# sequences of 64 characters. It is not told the time, since the masks say how much is missing.

# %%
COMMON = (
    f"data={DATA} data.length=64 trainer.max_steps={STEPS} lr_schedule.decay_steps={STEPS} "
    f"lr_schedule.warmup_steps={STEPS // 10} network.convolution=7 evaluation=none logger=none "
    "trainer=cpu trainer.check_val_every_n_epoch=1 sampling.num_samples=1"
)
run = diffusion_lab.train(f"experiment=quickstart_text {COMMON}")

# %% [markdown]
# How good is it? The bound on text that was held out, in bits per character: less is better, and one who knows
# nothing needs $\log_2 V$. The ± is the standard error over sequences.

# %%
bounds = {"masks": TokenBoundNLL(num_times=8, num_items=HELD_OUT).of(run.parts.pipeline, items)}
print(bounds["masks"].summary())
print(f"log2 V = {math.log2(vocabulary.size):.2f} bits")

# %% [markdown]
# What has it learned? The upper half shows section 1 again, on ids of characters. Below it is a held-out sentence
# with more and more masks; under each state is the likeliest character of each position, by a *single* prediction.
# Few masks are easy; with all of them, only the commonest character is left to say.

# %%
_, picture = reconstruction_figures(run.parts, run.folder.path, run.step)  # as text, and as a picture
full_size(picture)

# %% [markdown]
# ### Exercise 2: one step back
#
# To draw text, start with masks alone, and take steps from $t$ to $s < t$. Bayes' rule gives the exact posterior
# (MDLM, eq. 7): a token that is open stays what it is, and a mask
#
# - stays a mask with probability $\dfrac{1-\alpha_s}{1-\alpha_t}$, which is $s/t$ for $\alpha_t = 1 - t$;
# - else becomes token $v$ with the network's probability $p_\theta(x^\ell = v \mid z_t)$.
#
# Write the probabilities of all $V + 1$ states of each position. `process.schedule.gone(t)` is $1 - \alpha_t$.


# %%
def reverse_probs(z_t, probs, t, s, process):
    """Return the probabilities of each state at times s, the mask last.

    z_t [B, L] int64, probs [B, L, V] of the clean token, t and s [B] float64 → [B, L, V + 1].
    """
    # your code


# %%
step_back = reverse_probs if check_reverse_probs(reverse_probs) else None


# %% tags=["hide-input"] jupyter={"source_hidden": true} cellView="form"
# @title Solution
def reverse_probs_solution(z_t, probs, t, s, process):
    """Return the probabilities of each state at times s, the mask last."""
    stays = (process.schedule.gone(s) / process.schedule.gone(t))[:, None, None].expand(*z_t.shape, 1)
    from_mask = torch.cat([(1 - stays) * probs, stays], dim=-1)
    open_ = functional.one_hot(z_t, process.vocab_size + 1).double()
    return torch.where((z_t == process.mask)[..., None], from_mask, open_)


if check_reverse_probs(reverse_probs_solution):
    step_back = step_back or reverse_probs_solution

# %% [markdown]
# That is all there is to sampling. Your function, the trained network, and a loop:

# %%
denoiser, process = run.parts.pipeline.plain_denoiser, run.parts.process
noise = Noise(torch.arange(2), 0, "my sampler")
z = torch.full((2, 64), process.mask)
steps = 64
with torch.inference_mode():
    for k in range(steps, 0, -1):
        t, s = (torch.full((2,), n / steps, dtype=torch.float64) for n in (k, k - 1))
        probs = denoiser(z, t).x0.double().exp()
        z = Categorical(step_back(z, probs, t, s, process).log()).sample(noise.at(k))
for row in z.tolist():
    print(repr(vocabulary.text(row)))

# %% [markdown]
# The library's loop does the same, and can record the way. Each line below is a state; a character is shaded by the
# probability that the network gave it when it was drawn. The temperature of 0.8 makes the likely likelier.

# %%
cool = diffusion_lab.load_run(run.folder.path, overrides="clip=nucleus clip.temperature=0.8")
trajectory = Trajectory(frames=10, keep=1)
cool.parts.pipeline.draw(1, seed=3, trajectory=trajectory)
sheet = figures.denoising_sheet(
    trajectory.states, trajectory.times, None, trajectory.confidence, "masks, temperature 0.8"
)
_, picture, _ = cool.parts.pipeline.codec.show(sheet)  # as text, as a picture, as a page
full_size(picture)

# %% [markdown]
# Some tokens are drawn in the same step, *independently* of each other, and may not fit together. More steps make
# this rarer; `sampler=first_hitting` opens one mask at a time, and makes no such error (Zheng et al. 2024). Try
# `overrides="sampler.num_steps=8"` above, and see what becomes of the words.
#
# ## 5. Infilling and prompts
#
# A sequence of which some tokens are open and the rest are masks is a *state of the process*: the network has been
# trained on it. So what is given just stays, and the rest is drawn given it. No other training is needed, and none of
# the detours that inpainting needs in Gaussian diffusion. The constraint is one object; a prompt is the case where
# the beginning is given. (`diffusion-lab sample run_dir=… infill='a func____ of' blank=_`, or `prompt='The '`, does
# this on the command line.)


# %%
def completions(text, count=3, seed=0):
    """Print texts in which each _ has been filled in, and what follows has been drawn as well."""
    given, known = run.parts.pipeline.codec.with_blanks(text, "_")
    given, known = (functional.pad(row, (0, 64 - len(row))) for row in (given, known))
    constraint = GivenTokens(given, known, process.mask)
    print(repr(text))
    for row in cool.parts.pipeline.sample(count, seed, constraint=constraint).tolist():
        print("   ", repr(vocabulary.text(row)))


completions("The f______n is called with the argum____ of the class.")
completions("If the ")

# %% [markdown]
# ## 6. Scores: ratios of probabilities
#
# Gaussian diffusion has another view: the score $\nabla \log p_t$. On tokens there is no gradient, but there are
# *ratios* to the neighbours (SEDD, Lou et al. 2024):
#
# $$s(z, t)_{\ell, y} = \frac{p_t(z \text{ with } y \text{ at position } \ell)}{p_t(z)}.$$
#
# For masks these are nothing new: the score is the posterior of the clean token, times a number that the schedule
# knows,
#
# $$s(z, t)_{\ell, y} = \frac{\alpha_t}{1 - \alpha_t}\; p(x^\ell = y \mid \text{open tokens of } z)
#   \qquad \text{where } z^\ell = m.$$
#
# In the tiny language all $4^3$ states can be counted, and both sides compared. The left side comes from $p_t$, by
# definition; the right side is what the library makes of the exact network.

# %%
t = torch.full((1,), 0.6, dtype=torch.float64)
alpha = float(tiny.schedule.survival(t))
to_state = torch.cat([alpha * torch.eye(V), torch.full((V, 1), 1 - alpha)], 1).double()  # [V, V + 1], one position
p_t = torch.einsum("abc,ai,bj,ck->ijk", joint.view(V, V, V), to_state, to_state, to_state)

worst, compared = 0.0, 0
for z in itertools.product(range(V + 1), repeat=L):
    state = torch.tensor([z])
    scores = Denoiser(exact, Substitution(tiny))(state, t).log_scores(tiny, state, t).exp()[0]  # [L, V]
    for place in (place for place in range(L) if z[place] == tiny.mask):
        for y in range(V):
            ratio = p_t[(*z[:place], y, *z[place + 1 :])] / p_t[z]
            worst = max(worst, abs(float(scores[place, y] / ratio) - 1))
            compared += 1
print(f"{compared} ratios compared; the largest relative difference is {worst:.0e}")

# %% [markdown]
# That is float32's rounding. Scores have a sampler of their own, the analytic step ("Tweedie", SEDD, theorem 4.2):
# the state at $s$ is drawn from $(e^{-\Delta\sigma Q} s)_i \cdot e^{\Delta\sigma Q}(z_t, i)$. With exact scores of
# masked text it is the very step that you wrote in section 4. Below, 20,000 steps of each kind from the state `[mask,
# 1, mask]`:

# %%
survivors = Absorbing(LogLinearSchedule(remaining=1e-3), V)  # scores need something that survives at t = 1
count = 20_000
noise = Noise(torch.arange(count), 0, "steps")
z = torch.tensor([[V, 1, V]]).expand(count, L)
t, s = (torch.full((count,), value, dtype=torch.float64) for value in (0.6, 0.3))
perfect = Denoiser(exact, Substitution(survivors))

posterior = step_back(z[:1], perfect(z[:1], t[:1]).x0.double().exp(), t[:1], s[:1], survivors)[0, 0]
ancestral = survivors.posterior(z, perfect(z, t), t, s).sample(noise.at("ancestral"))
tweedie = Tweedie(survivors, Trailing(survivors.schedule)).step(State(z), t, s, perfect, noise.at("tweedie")).z
print("first position becomes   " + "".join(f"{name:>9}" for name in [*range(V), "mask"]))
print("by your own step         " + "".join(f"{value:9.3f}" for value in posterior.tolist()))
for name, after in (("posterior, drawn", ancestral), ("tweedie, drawn", tweedie)):
    shares = torch.bincount(after[:, 0], minlength=V + 1) / count
    print(f"{name:25}" + "".join(f"{value:9.3f}" for value in shares.tolist()))

# %% [markdown]
# So what differs is the *network*: it puts out scores, which nothing forces to be the ratios of any probabilities,
# and learns them by score entropy (SEDD, eq. 9), which is a bound on the likelihood again. It must be told the time,
# on which scores depend. In the config, these are a few options:

# %%
scores = diffusion_lab.train(
    f"experiment=quickstart_text {COMMON} console=bar name=scores parameterization=log_scores schedule.remaining=0.001 "
    "sampler=tweedie sampler.num_steps=64 network.time=true network.condition_width=32"
)
bounds["scores"] = TokenBoundNLL(num_times=8, num_items=HELD_OUT).of(scores.parts.pipeline, items)
print(bounds["scores"].summary())

# %% [markdown]
# Scores pay off where there are no masks: with `process=uniform`, a destroyed token becomes a random one, the ratios
# are no posterior in disguise, and a token can be corrected more than once (`experiment=sedd_uniform_shakespeare`).
#
# ## 7. Vectors: Gaussian noise after all
#
# Gaussian noise failed on ids because an id is a point on a line, where its neighbours mean nothing. Give each token
# a *vector* instead, and learn the vectors with the network: Diffusion-LM (Li et al. 2022). Its loss has three terms
# (eq. 2, and appendix E): the squared error of the predicted vectors, $-\log p(w \mid x_0)$ of a head that reads
# tokens from the vectors and so keeps them apart, and a term that pulls them towards the prior at $t = 1$.

# %%
vectors = diffusion_lab.train(
    f"experiment=quickstart_text {COMMON} console=bar name=vectors codec=embedding schedule=sqrt process=gaussian "
    "parameterization=x0 objective=embedding sampler=ancestral sampler.num_steps=64 network.time=true "
    "network.condition_width=32"
)
bounds["vectors"] = EmbeddingBoundNLL(num_times=8, min_noise=0.7, num_items=HELD_OUT).of(vectors.parts.pipeline, items)
print(bounds["vectors"].summary())

# %% [markdown]
# Why does noise work there? Put the same relative noise on ids (scaled to a standard deviation of 1) and on the
# learned vectors (scaled alike), and *round*: read the nearest id, or the nearest vector. Ids are lost at once: all
# of them share one line. Vectors have room.

# %%
codec = vectors.parts.pipeline.codec
sample = items[:HELD_OUT]
with torch.no_grad():
    clean = codec.encode(sample)
line = sample.double()
relative = [0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0]
noise = Noise(torch.arange(len(sample)), 0, "rounding")
read = {"ids": [], "vectors": []}
for sigma in relative:
    noisy = line + sigma * line.std() * noise.at("ids").normal(sample.shape[1:]).double()
    read["ids"].append(float((noisy.round() == line).float().mean()))
    noisy = clean + sigma * clean.std() * noise.at("vectors").normal(clean.shape[1:])
    read["vectors"].append(float((codec.decode(noisy) == sample).float().mean()))

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.plot(relative, read["ids"], "o-", label="ids, one number each")
axes.plot(relative, read["vectors"], "s-", label=f"vectors of {codec.vectors.shape[1]} numbers")
axes.set(
    xlabel="noise, in standard deviations of the clean codes",
    ylabel="share of characters read right",
    title="Rounding to the nearest token",
    ylim=(-0.03, 1.03),
)
axes.legend()
axes.grid(alpha=0.3)
# %% [markdown]
# Samples end by that rounding, too:

# %%
for row in vectors.sample(3, seed=0).tolist():
    print(repr(vocabulary.text(row)))

# %% [markdown]
# ## 8. All three, after equally many steps
#
# The same text, the same network but for what it takes in and puts out, the same number of steps. Two kinds of
# number:
#
# - the **bound** on held-out text, in bits per character. It is a bound for all three, and so can be compared (lower
#   is better);
# - the **samples**, read by a model of 4-grams that has counted the training text: bits per character, beside the
#   entropy of their characters. A text that repeats itself has few bits in both; look at the two together, and beside
#   real text.
#
# The network of masks is asked less often: it is not told the time, so that a step which opens no mask needs no new
# answer.

# %%
data = run.parts.data
stream = data.stream("train").numpy()
ngrams = {order: NgramModel(stream, order, vocabulary.size) for order in (1, 2, 3, 4)}
drawn = {
    "masks": run.parts.pipeline.draw(SAMPLES, seed=1),
    "scores": scores.parts.pipeline.draw(SAMPLES, seed=1),
    "vectors": vectors.parts.pipeline.draw(SAMPLES, seed=1),
}


def bits(sequences, order=4):
    """Return the bits per character of sequences under a model of n-grams."""
    return float(-ngrams[order].log_probs(np.asarray(sequences)).mean() / math.log(2))


print(f"{'':10}{'bound':>18}{'4-gram bits':>13}{'entropy':>9}{'evaluations':>13}")
for name, found in drawn.items():
    mean, error = (value / math.log(2) for value in bounds[name].nats_per_character)
    entropy = token_entropy(found.samples.numpy()) / math.log(2)
    print(
        f"{name:10}{f'{mean:.3f} ± {error:.3f}':>18}{bits(found.samples):13.2f}{entropy:9.2f}{found.evaluations:13.1f}"
    )
real = items[:SAMPLES].numpy()
print(f"{'real text':10}{'':>18}{bits(real):13.2f}{token_entropy(real) / math.log(2):9.2f}")

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for place, result in enumerate(bounds.values()):
    mean, error = (value / math.log(2) for value in result.nats_per_character)
    axes.barh(place, mean, xerr=error, color=f"C{place}", alpha=0.8, capsize=4)
for order, shade in ((1, "0.65"), (2, "0.45"), (3, "0.2")):
    axes.axvline(bits(items.numpy(), order), color=shade, ls="--", lw=1.3, label=f"{order}-gram model")
axes.set_yticks(range(len(bounds)), list(bounds))
axes.invert_yaxis()
axes.set(xlabel="bits per character of held-out text, a bound; bars: standard error", title=f"After {STEPS} steps each")
figure.legend(loc="outside right upper", fontsize=9)
axes.grid(alpha=0.3, axis="x")

# %% [markdown]
# Read such a picture with care: it is *one* training of each, minutes long, by settings that were chosen for masks.
# Whether a difference is more than chance takes several seeds, and how to show that is the subject of the next
# notebook. The [page on recipes](../results/recipes.md) has the same methods after half an hour each, on Tiny
# Shakespeare.
#
# **What to take away**
#
# - An id is a name. Noise must respect what the data is: replace tokens, or give them vectors.
# - Masked diffusion is a cross-entropy with a weight, and that weight makes it a bound on the likelihood.
# - One step back is Bayes' rule, and prompts and infilling come for free, since partly masked text is a state.
# - For masks, scores and posteriors are the same thing; they differ in what the network is asked for.
# - Compare methods by bounds on the same held-out text; judge samples by two numbers at least.
