"""Evaluate a run: `python scripts/evaluate.py run_dir=… sampler=dpmpp_2m sampler.num_steps=20`."""

from diffusion_lab.commands.evaluate_command import main

if __name__ == "__main__":
    main()
