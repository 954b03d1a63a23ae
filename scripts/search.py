"""Search for the best run: `python scripts/search.py --help` lists the choices."""

from diffusion_lab.commands.search_command import main

if __name__ == "__main__":
    main()
