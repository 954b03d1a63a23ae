"""Let an editor complete the keys of config files, and mark what is misspelled as it is typed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from diffusion_lab.config.arguments import run_on_words
from diffusion_lab.config.tree import use_config_dirs
from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import write_text

_HELP = """\
Let an editor complete the keys of config files, and mark what is misspelled as it is typed. In .vscode/ of the working
folder it writes the JSON schema of each kind of file, and tells VS Code's YAML extension (redhat.vscode-yaml) which
file has which. Other editors with a YAML language server read the same schemas.

  diffusion-lab schema             # for the config files in conf/
  diffusion-lab schema my/configs  # for those in another folder

Run it again when a class or an option is new. Classes of your own are known if DIFFUSION_LAB_TRUST names their module.
"""


def main() -> None:
    """Run the command on what was typed behind it."""
    run_on_words(_HELP, write_schemas)


def write_schemas(typed: list[str]) -> None:
    """Write the schemas of the config files in the folder that was typed, or in conf/.

    Raises:
        LabError: if there is no such folder, the editor's settings cannot be read, or a file cannot be written.
    """
    if len(typed) > 1 or any(text.startswith("-") or "=" in text for text in typed):
        raise LabError("schema: name one folder of config files, or none for conf/")
    folder = Path(*typed or ["conf"])
    if not folder.is_dir():
        raise LabError(f"schema: there is no folder {folder}: name that of the config files")
    # Imported here, so that --help answers before torch would have loaded.
    from diffusion_lab.config.json_schema import schemas, text_of

    use_config_dirs([folder])
    place = Path(".vscode")
    settings = _settings(place / "settings.json")
    listed: dict[str, Any] = settings.setdefault("yaml.schemas", {})
    found = schemas()
    schemas_of = place / "schemas" / folder.resolve().name
    try:
        schemas_of.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(f"cannot make the folder {schemas_of}: {error.strerror}") from error
    for pattern, schema in found.items():
        file = schemas_of / f"{pattern.removesuffix('/*.yaml')}.json"  # network.json, and train.yaml.json
        write_text(file, text_of(schema))
        listed[f"./{file.as_posix()}"] = Path(os.path.relpath(folder), pattern).as_posix()
    write_text(place / "settings.json", json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
    print(f"{len(found)} schemas in {schemas_of}, which {place / 'settings.json'} names for {folder}")


def _settings(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(settings, dict) or not isinstance(settings.get("yaml.schemas", {}), dict):
            raise ValueError("it is no mapping")
    except (OSError, ValueError) as error:
        raise LabError(f"cannot read {file} ({error}): it must be JSON without comments") from error
    return settings
