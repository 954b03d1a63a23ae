"""Train a diffusion model: `python scripts/train.py --help` says what can be chosen."""

from diffusion_lab.commands.train_command import main

if __name__ == "__main__":
    main()
