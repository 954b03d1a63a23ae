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

# %%
# In Colab, or wherever the package is missing, this installs it. (Not tried on Colab yet.)
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("diffusion_lab") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "diffusion-lab"], check=True)

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 72}
import os

import torch

import diffusion_lab
from diffusion_lab.figures import draw_image_grid, grid_sheet

DATA = os.environ.get("WALKTHROUGH_DATA", "mnist")  # or digits: bundled, no download
print(f"data={DATA}, torch {torch.__version__.split('+')[0]}")

# %%
run = diffusion_lab.train(f"data={DATA} trainer.max_steps=3 trainer.max_epochs=null sampling.num_samples=1")

# %%
draw_image_grid(grid_sheet(run.sample(8), "Samples"))
