"""The library names settings, as `clean`; who typed a command reads its flags, as --clean."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# Settings that several flags make together.
_OF_SEVERAL = {"headers": "--token-env or --header"}


def with_flags(text: str, commands: Iterable[Any]) -> str:
    """Return a message that names flags in place of the settings that commands have flags for."""
    flags = {**_OF_SEVERAL}
    # What is a flag of one command and an argument of another is called by its flag.
    arguments: dict[str, str] = {}
    for parameter in (parameter for command in commands for parameter in command.params):
        options = [option for option in parameter.opts if option.startswith("--")]
        if not options:
            arguments.setdefault(parameter.name, f"`{parameter.name}`")
            continue
        for name in (parameter.name, *(option[2:].replace("-", "_") for option in options)):
            flags.setdefault(name, options[0])
    flags = {**arguments, **flags}
    return re.sub(r"`(\w+)`", lambda found: flags.get(found[1], found[0]), text)
