"""The metadata server's tree: look-up by path, listing, JSON and text. Pure.

The tree has the form of ``?recursive=true``: names in camelCase (``serviceAccounts``), which are paths in kebab-case (``service-accounts``).
Names below ``attributes``, ``serviceAccounts`` and ``guestAttributes`` are chosen by users and stay unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

OWN_NAMES = {"attributes", "serviceAccounts", "service-accounts", "guestAttributes", "guest-attributes"}
Node = object


def kebab(name: str) -> str:
    """Convert a name to its form in paths."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: f"-{match[1]}", name).lower()


def camel(name: str) -> str:
    """Convert a name to its form in JSON."""
    return re.sub(r"-([a-z0-9])", lambda match: match[1].upper(), name)


def children(node: Node) -> Mapping[str, Node] | None:
    """Return the entries of a directory by name, None for a leaf. A list of directories is a directory with numbers for names."""
    if isinstance(node, Mapping):
        return {str(name): child for name, child in node.items()}
    if isinstance(node, Sequence) and not isinstance(node, str) and any(isinstance(child, Mapping) for child in node):
        return {str(index): child for index, child in enumerate(node)}
    return None


def find_node(tree: Node, segments: Sequence[str]) -> Node:
    """Find the node at a path; raise KeyError if there is none."""
    node, own = tree, False
    for segment in segments:
        inside = children(node)
        if inside is None:
            raise KeyError(segment)
        names = {name if own else kebab(name): name for name in inside}
        name = names[segment if own else kebab(segment)]
        node, own = inside[name], name in OWN_NAMES
    return node


def leaf_text(node: Node) -> str:
    """Format a leaf as the server does: booleans as TRUE and FALSE, lists by line."""
    if isinstance(node, bool):
        return str(node).upper()
    if isinstance(node, Sequence) and not isinstance(node, str):
        return "".join(f"{leaf_text(item)}\n" for item in node)
    return "" if node is None else str(node)


def list_names(node: Mapping[str, Node], *, own: bool) -> str:
    """List a directory: one name a line, directories with a slash."""
    lines = (
        (name if own else kebab(name)) + ("/" if children(child) is not None else "") for name, child in node.items()
    )
    return "".join(f"{line}\n" for line in sorted(lines))


def as_json(node: Node, *, own: bool) -> str:
    """Format a node and its subtree as JSON."""
    return json.dumps(plain(node, own=own), separators=(",", ":"))


def plain(node: Node, *, own: bool) -> Node:
    """Convert a node and its subtree to JSON values."""
    if isinstance(node, bool):
        return leaf_text(node)
    if isinstance(node, Mapping):
        return {(name if own else camel(name)): plain(child, own=name in OWN_NAMES) for name, child in node.items()}
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [plain(child, own=False) for child in node]
    return node


def as_text(node: Node, *, own: bool) -> str:
    """Format a node and its subtree as lines of path and value."""
    return "".join(f"{'/'.join(path)} {leaf_text(leaf).rstrip()}\n" for path, leaf in walk(node, own=own))


def walk(node: Node, *, own: bool) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Yield each leaf with its path."""
    inside = children(node)
    if inside is None:
        yield (), node
        return
    for name, child in inside.items():
        for path, leaf in walk(child, own=name in OWN_NAMES):
            yield (name if own else kebab(name), *path), leaf


def is_true(value: Node) -> bool:
    """Return whether a metadata value is true, as the guest agent reads it."""
    return str(value).strip().lower() in {"true", "1", "yes", "y"}


def attribute(tree: Node, name: str) -> str:
    """Return a custom metadata value of the instance, else of its project, else an empty string."""
    for level in ("instance", "project"):
        try:
            return str(find_node(tree, (level, "attributes", name)))
        except KeyError:
            continue
    return ""
