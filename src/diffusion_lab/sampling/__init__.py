"""Time grids, samplers, transforms of the denoiser, and the one loop that draws."""

from diffusion_lab.sampling.ancestral import Ancestral
from diffusion_lab.sampling.base import Constraint, DenoiserFn, DenoiserTransform, Sampler, State, Walk
from diffusion_lab.sampling.blocks import Blocks
from diffusion_lab.sampling.classifier_free import ClassifierFree
from diffusion_lab.sampling.clip_x0 import ClipX0
from diffusion_lab.sampling.confidence import Confidence
from diffusion_lab.sampling.ddim import DDIM
from diffusion_lab.sampling.dpm_solver_pp import DPMSolverPP2M
from diffusion_lab.sampling.dynamic_threshold import DynamicThreshold
from diffusion_lab.sampling.euler import Euler
from diffusion_lab.sampling.first_hitting import FirstHitting
from diffusion_lab.sampling.given_tokens import GivenTokens
from diffusion_lab.sampling.grids import TimeGrid
from diffusion_lab.sampling.heun import Heun
from diffusion_lab.sampling.inversion import Inversion
from diffusion_lab.sampling.ipndm import IPNDM
from diffusion_lab.sampling.loop import Step, draw
from diffusion_lab.sampling.nearest_embedding import NearestEmbedding
from diffusion_lab.sampling.nucleus import Nucleus
from diffusion_lab.sampling.pipeline import Draw, Pipeline
from diffusion_lab.sampling.reconstruction import reconstruct
from diffusion_lab.sampling.remasking import Remasking
from diffusion_lab.sampling.repaint import RePaint
from diffusion_lab.sampling.score_euler import ScoreEuler
from diffusion_lab.sampling.time_travel import TimeTravel
from diffusion_lab.sampling.trajectory import Trajectory
from diffusion_lab.sampling.tweedie import Tweedie
from diffusion_lab.sampling.unipc import UniPC

__all__ = [
    "DDIM",
    "IPNDM",
    "Ancestral",
    "Blocks",
    "ClassifierFree",
    "ClipX0",
    "Confidence",
    "Constraint",
    "DPMSolverPP2M",
    "DenoiserFn",
    "DenoiserTransform",
    "Draw",
    "DynamicThreshold",
    "Euler",
    "FirstHitting",
    "GivenTokens",
    "Heun",
    "Inversion",
    "NearestEmbedding",
    "Nucleus",
    "Pipeline",
    "RePaint",
    "Remasking",
    "Sampler",
    "ScoreEuler",
    "State",
    "Step",
    "TimeGrid",
    "TimeTravel",
    "Trajectory",
    "Tweedie",
    "UniPC",
    "Walk",
    "draw",
    "reconstruct",
]
