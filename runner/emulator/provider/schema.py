"""The language in which the properties of a resource type are declared: the stock plugin's schema, as data.

Names and shapes are those of the ``pulumi_gcp`` SDK (camelCase). A test compares every table with that SDK.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

RESOURCE_NAME = r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?"
DELETION_POLICIES = ("DELETE", "PREVENT", "ABANDON")

Same = Callable[[Any, Any], bool]


class Kind(Enum):
    """The type of a property's value."""

    TEXT = "a string"
    FLAG = "a boolean"
    NUMBER = "a number"
    MAP = "an object"
    LIST = "a list"
    SET = "a list, in any order"
    BLOCK = "an object with fixed keys"
    ASSET = "an asset"


@dataclass(frozen=True, kw_only=True)
class Field:
    """One property.

    ``computed``: the cloud fills it if the program does not. ``output``: only the cloud fills it. ``replace``: a change
    needs a new resource. ``same(old, new)``: whether two spellings mean the same. ``follows``: the provider setting
    (project, region, zone) that is its default. ``item``: the items of a list or set. ``fields``: a block's properties.
    """

    kind: Kind
    required: bool = False
    computed: bool = False
    output: bool = False
    replace: bool = False
    default: Any = None
    pattern: str = ""
    choices: tuple[str, ...] = ()
    same: Same | None = None
    conflicts: tuple[str, ...] = ()
    follows: str = ""
    auto_named: bool = False
    item: Field | None = None
    fields: Mapping[str, Field] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def element(self) -> Field:
        """The type of the items of a list, set or map."""
        if self.item is None:
            raise TypeError(f"{self.kind} holds nothing")
        return self.item


def text(**how: Any) -> Field:
    """Return a string."""
    return Field(kind=Kind.TEXT, **how)


def flag(**how: Any) -> Field:
    """Return a boolean."""
    return Field(kind=Kind.FLAG, **how)


def number(**how: Any) -> Field:
    """Return a number."""
    return Field(kind=Kind.NUMBER, **how)


def mapping(**how: Any) -> Field:
    """Return an object with any keys and strings as values."""
    return Field(kind=Kind.MAP, item=text(), **how)


def listing(item: Field, **how: Any) -> Field:
    """Return a list whose order matters."""
    return Field(kind=Kind.LIST, item=item, **how)


def collection(item: Field, **how: Any) -> Field:
    """Return a list whose order does not matter."""
    return Field(kind=Kind.SET, item=item, **how)


def block(fields: Mapping[str, Field], **how: Any) -> Field:
    """Return an object with fixed keys."""
    return Field(kind=Kind.BLOCK, fields=fields, **how)


def asset(**how: Any) -> Field:
    """Return a file or text from the program."""
    return Field(kind=Kind.ASSET, **how)


def output(kind: Field) -> Field:
    """Return ``kind`` as a property that only the cloud fills."""
    return replace(kind, output=True, computed=True)


def outputs(*names: str) -> dict[str, Field]:
    """Return strings that only the cloud fills."""
    return {name: output(text()) for name in names}


def resource_name(**how: Any) -> dict[str, Field]:
    """Return ``name``, generated if the program gives none."""
    how = {"pattern": RESOURCE_NAME} | how
    return {"name": text(computed=True, replace=True, auto_named=True, **how)}


def project() -> dict[str, Field]:
    """Return ``project``, from the provider's settings if the program gives none."""
    return {"project": text(computed=True, replace=True, follows="project")}


def location(level: str, same: Same | None = None) -> dict[str, Field]:
    """Return ``region`` or ``zone``, from the provider's settings if the program gives none."""
    return {level: text(computed=True, replace=True, follows=level, same=same)}


def labels() -> dict[str, Field]:
    """Return ``labels``, and the two outputs for all labels of the resource and for ours."""
    shown = output(mapping())
    return {"labels": mapping(), "effectiveLabels": shown, "pulumiLabels": shown}


def deletion_policy() -> dict[str, Field]:
    """Return ``deletionPolicy``: whether deleting it from the stack deletes it in the cloud."""
    return {"deletionPolicy": text(default="DELETE", choices=DELETION_POLICIES)}


def table(*groups: Mapping[str, Field]) -> Mapping[str, Field]:
    """Return one table from several."""
    return MappingProxyType({name: declared for group in groups for name, declared in group.items()})


def all_fields(*groups: Mapping[str, Field]) -> Mapping[str, Field]:
    """Return one table from several, with the properties that nearly every type has."""
    return table(deletion_policy(), *groups)


def settable(fields: Mapping[str, Field]) -> Sequence[str]:
    """Return the names that a program may give, sorted."""
    return sorted(name for name, declared in fields.items() if not declared.output)
