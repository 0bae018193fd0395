"""The base class of all options, and the flags and exit codes that several verbs share."""

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, dataclass_transform, get_args

from runner.errors import EXIT_CODES

JSON_HELP = "one JSON object per line instead of text"
JSON_WITH_SUMMARY_HELP = JSON_HELP + "; the last has event: summary"

Debug = Annotated[bool, "log in more detail, and to standard error too"]
Yes = Annotated[bool, "do not ask; show what will be created and continue"]
YesOnly = Annotated[bool, "do not ask"]
JsonLines = Annotated[bool, JSON_HELP]
JsonWithSummary = Annotated[bool, JSON_WITH_SUMMARY_HELP]
JsonObject = Annotated[bool, "one JSON object"]
ResultsFolder = Annotated[str, "the folder for results (default: results)"]


def usual_exits(*codes: int) -> dict[int, str]:
    """Return these exit codes with their usual meanings."""
    return {code: EXIT_CODES[code] for code in codes}


ANY_VERB = usual_exits(0, 2, 10, 11, 129, 130, 143)
CLOUD_VERB = ANY_VERB | usual_exits(3, 4)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Options:
    """The options of one verb. The docstring of a subclass describes the verb, each field is a flag, and the type of each field is
    ``Annotated`` with the help of the flag. A field without a default is required.

    Type checkers see frozen, keyword-only dataclasses. Real ones take 0.6 ms each to create, and each command would wait for all of them.
    """

    verb: ClassVar[str]  # as users type it: local.start
    name: ClassVar[str]  # without its collection: start
    exits: ClassVar[Mapping[int, str]]
    signature: ClassVar[inspect.Signature]

    debug: Debug = False

    def __init_subclass__(cls, *, verb: str, exits: Mapping[int, str]) -> None:
        """Set the verb, as users type it, and the meanings of its exit codes."""
        cls.verb, cls.name, cls.exits = verb, verb.rpartition(".")[2], exits
        flags = {**inspect.get_annotations(cls), "debug": Debug}
        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=getattr(cls, name, inspect.Parameter.empty),
                annotation=annotation,
            )
            for name, annotation in flags.items()
        ]
        cls.signature = inspect.Signature(parameters)

    def __init__(self, **given: Any) -> None:
        bound = self.signature.bind(**given)
        bound.apply_defaults()
        self.__dict__.update(bound.arguments)

    @classmethod
    def help(cls) -> dict[str, str]:
        """Return the help of each flag."""
        return {name: get_args(parameter.annotation)[1] for name, parameter in cls.signature.parameters.items()}

    @classmethod
    def description(cls) -> str:
        """Return what the verb does, and its exit codes."""
        listed = "".join(f"\n  {code:3} {cls.exits[code]}" for code in sorted(cls.exits))
        return f"{inspect.getdoc(cls)}\n\nExit codes:{listed}"
