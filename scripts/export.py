"""Hand on a model: `python scripts/export.py run_dir=… format=safetensors out=my_model`."""

from diffusion_lab.commands.export_command import main

if __name__ == "__main__":
    main()
