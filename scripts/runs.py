"""List runs, change their tags and notes, or remove them: `python scripts/runs.py`, and `--help`."""

from diffusion_lab.commands.runs_command import main

if __name__ == "__main__":
    main()
