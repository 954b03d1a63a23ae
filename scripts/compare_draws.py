"""Show draws side by side: `python scripts/compare_draws.py outputs/<name>/<run>`, and `--help`."""

from diffusion_lab.commands.compare_draws_command import main

if __name__ == "__main__":
    main()
