"""Completion for the shell: commands first, then the keys and options of the one that was typed."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from diffusion_lab.config.tree import conf_dir

#: Commands that take paths and `key=value`, without Hydra, and so without its completion.
_ON_PATHS = ("compare", "compare_draws", "runs")

_SCRIPT = """\
_diffusion_lab() {{
    local words=($COMP_LINE) word choices typed
    word="${{COMP_WORDS[COMP_CWORD]}}"
    [[ "$COMP_LINE" == *" " ]] && word="" || word="${{words[${{#words[@]}} - 1]}}"
    if (( COMP_CWORD == 1 )); then
        choices="{commands} completion"
    else
        case "${{words[1]//-/_}}" in
{cases}
            completion) choices="bash zsh" ;;
            new|schema) choices="" ;;
            *)
                typed="${{COMP_LINE#* * }}"
                choices=$(COMP_LINE="_ $typed" "${{words[0]}}" "${{words[1]}}" -sc query=bash 2>/dev/null)
                ;;
        esac
    fi
    COMPREPLY=($(compgen -o default -W "$choices" -- "$word"))
}}
COMP_WORDBREAKS=${{COMP_WORDBREAKS//=}}
complete -o nospace -o default -F _diffusion_lab diffusion-lab
"""


def script(shell: str, commands: Sequence[str]) -> str:
    """Return the lines that a shell evaluates to complete what is typed behind `diffusion-lab`.

    Args:
        shell: ``bash`` or ``zsh``, which reads the same lines after a command of its own.
        commands: what can be typed first.
    """
    cases = [f'            {name}) choices="{_keys(name)}" ;;' for name in commands if name in _ON_PATHS]
    text = _SCRIPT.format(commands=" ".join(commands), cases="\n".join(cases))
    return ("autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else "") + text


def _keys(name: str) -> str:
    values = yaml.safe_load((conf_dir() / f"{name}.yaml").read_text(encoding="utf-8"))
    return " ".join(f"{key}=" for key in values)
