"""Compare runs: `python scripts/compare.py outputs/… metric=val/loss`, and `--help`."""

from diffusion_lab.commands.compare_command import main

if __name__ == "__main__":
    main()
