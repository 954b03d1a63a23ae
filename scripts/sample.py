"""Draw from a run: `python scripts/sample.py run_dir=… num_samples=64 seed=7`."""

from diffusion_lab.commands.sample_command import main

if __name__ == "__main__":
    main()
