"""The different ways to name one resource in Compute: full links, partial links, bare names, image families."""

from __future__ import annotations

import re

_PROJECTS = re.compile(r"projects/.*$")
_IMAGE = re.compile(r"projects/(?P<project>[^/]+)/global/images/(?P<name>[^/]+)$")
_FAMILY = re.compile(r"(?:projects/(?P<project>[^/]+)/)?(?:global/images/)?family/(?P<name>[^/]+)$")
_NAMED_IMAGE = re.compile(r"(?:(?:projects/)?(?P<project>[^/]+)/)?(?:global/images/)?(?P<name>[^/]+)$")


def tail(link: str) -> str:
    """Return the last part of a link: its name."""
    return link.rstrip("/").rsplit("/", 1)[-1]


def relative(link: str) -> str:
    """Return a link from ``projects/`` on; anything else as it is."""
    found = _PROJECTS.search(link)
    return found.group() if found else link


def same_link(old: str, new: str) -> bool:
    """Return whether ``new``, a link or a bare name, names what the link ``old`` names."""
    return relative(old) == relative(new) or ("/" not in new and tail(old) == new)


def same_name(old: str, new: str) -> bool:
    """Return whether two links, or names, end alike. For resources whose name is unique in a project (zones, machine types)."""
    return tail(old) == tail(new)


def same_text(old: str, new: str) -> bool:
    """Return whether they are the same except for case."""
    return old.lower() == new.lower()


def same_image(old: str, new: str) -> bool:
    """Return whether the image ``old`` (a link to a version) may have come from ``new``.

    A family matches if the version's name contains it: more cannot be known without asking the cloud.
    """
    found = _IMAGE.search(old)
    if found is None:
        return old == new
    project, name = found["project"], found["name"]
    family = _FAMILY.search(new)
    if family is not None:
        return family["project"] in (None, project) and family["name"] in name
    image = _NAMED_IMAGE.search(relative(new))
    if image is None or image["project"] not in (None, project):
        return False
    return image["name"] == name or ("global/images" not in new and image["name"] in name)
