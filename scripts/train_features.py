"""Train the feature network of a data set: `python scripts/train_features.py data=mnist`, and `--help`."""

from diffusion_lab.commands.train_features_command import main

if __name__ == "__main__":
    main()
