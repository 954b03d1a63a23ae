"""Verify that a run that is killed and resumed gives identical results: `python scripts/verify_resume.py --help`."""

from diffusion_lab.commands.verify_resume_command import main

if __name__ == "__main__":
    main()
