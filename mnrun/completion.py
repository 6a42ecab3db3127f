"""Completion of the command line: a few lines for the shell, which ask mnrun for the words."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

VARIABLE = "_MNRUN_COMPLETE"
"""Set by the shell's script: the words of the command line are to be completed, not run."""

SCRIPTS = {
    "bash": f"""\
# In ~/.bashrc:  eval "$(mnrun completion bash)"
_mnrun() {{
  local words
  words=$({VARIABLE}=1 mnrun "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2> /dev/null)
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _mnrun mnrun
""",
    "zsh": f"""\
# In ~/.zshrc, behind compinit:  eval "$(mnrun completion zsh)"
_mnrun() {{
  local -a found
  found=(${{(f)"$({VARIABLE}=1 mnrun "${{(@)words[2,CURRENT]}}" 2> /dev/null)"}})
  if (( $#found )); then compadd -- $found; else _files; fi
}}
compdef _mnrun mnrun
""",
    "fish": f"""\
# In ~/.config/fish/completions/mnrun.fish:  mnrun completion fish | source
function __mnrun
  set -l words (commandline -opc) (commandline -ct)
  env {VARIABLE}=1 mnrun $words[2..-1] 2> /dev/null
end
complete -c mnrun -a '(__mnrun)'
""",
}


def candidates(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Return what may stand in place of the last word, which may be empty.

    Args:
        parser: of the whole command line.
        words: as typed, without the program.
    """
    *before, begun = words or [""]
    for word in before:
        parser = _commands(parser).get(word, parser)
    commands = _commands(parser)
    found = list(commands) or [str(one) for one in _choices(parser)]
    if begun.startswith("-"):
        found = [text for action in parser._actions for text in action.option_strings]
    return sorted({word for word in found if word.startswith(begun)})


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands behind this one, by their words."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _choices(parser: argparse.ArgumentParser) -> list[object]:
    return [
        choice
        for action in parser._actions
        if not action.option_strings
        for choice in action.choices or ()
    ]
