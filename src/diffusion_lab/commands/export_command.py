"""Hand on the model of a run, in the form that another library reads."""

from diffusion_lab.config.cli import run


def export(cfg):
    """Export as the composed config says."""
    # Imported here so that --help and --cfg answer before torch would have loaded.
    from diffusion_lab.config.reader_schema import ExportConfig
    from diffusion_lab.config.settings import read_settings
    from diffusion_lab.runs import export

    export.export(read_settings(ExportConfig, cfg))


def main() -> None:
    """Run the command on what was typed behind it."""
    run("export", export)
