"""Let an editor complete the keys of config files: `python scripts/schema.py`, and `--help`."""

from diffusion_lab.commands.schema_command import main

if __name__ == "__main__":
    main()
