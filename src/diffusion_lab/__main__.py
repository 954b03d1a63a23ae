"""`python -m diffusion_lab` is `diffusion-lab`."""

from diffusion_lab.commands.entry_point import main

if __name__ == "__main__":
    main()
