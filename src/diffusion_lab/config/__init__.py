"""From YAML to objects: the command line, the checks of a config, and the one place that builds objects from it."""
