"""Train a run again and compare the two step by step: `python scripts/reproduce.py run_dir=…`."""

from diffusion_lab.commands.reproduce_command import main

if __name__ == "__main__":
    main()
