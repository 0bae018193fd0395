"""The part of the estate that is memory: stacks of Pulumi that this machine knows of. They cost nothing, but say untrue things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from runner.core.stack_records import StackRecords, removal_command
from runner.core.stacks import ProjectName, Stacks
from runner.errors import HpcError, StackError
from runner.model import names
from runner.model.leftover import BASE_PART, Item, Kind

PURPOSE_LABELS: Mapping[ProjectName, str] = {"analysis": "batch", "image": "bake"}
PROJECTS: tuple[ProjectName, ...] = ("analysis", "image", "base")


class RememberedStacks:
    """Stacks by their settings and state files. To remove one is to forget it: what was in it is removed before, by label.

    ``engine`` gives the engine that forgets them in order; where it cannot, their files are put away.
    """

    kinds = (Kind.STACK,)

    def __init__(self, records: StackRecords, engine: Callable[[], Stacks], owner: str) -> None:
        self._records = records
        self._engine = engine
        self._owner = owner

    def list_items(self, kind: Kind, labels: Mapping[str, str]) -> Sequence[Item]:
        """The stacks of all projects."""
        return [self._item(project, name) for project in PROJECTS for name in self._records.names(project)]

    def remove(self, item: Item) -> str:
        """See ``forget_stack``."""
        project = next(project for project in PROJECTS if project == item.place)
        return forget_stack(self._engine, self._records, project, item.name)

    def _item(self, project: ProjectName, name: str) -> Item:
        marks = {"app": names.APP, "owner": self._owner} | self._records.labels(project, name)
        marks[PURPOSE_LABELS.get(project, "part")] = name if project in PURPOSE_LABELS else BASE_PART
        return Item(kind=Kind.STACK, name=name, place=project, labels=marks)


def forget_stack(engine: Callable[[], Stacks], records: StackRecords, project: ProjectName, name: str) -> str:
    """Forget a stack of which everything is gone: by the engine, else by its files; how it was done.

    Raises:
        StackError: neither could; its remedy is the command that finishes the work.
    """
    try:
        engine().remove(project, name, force=True)
    except HpcError as by_engine:
        try:
            records.forget(project, name)
        except StackError as error:
            raise StackError(f"{error} ({by_engine})", remedy=removal_command(project, name)) from by_engine
        return f"its state was put away, because the engine could not remove it: {by_engine}"
    records.forget_settings(project, name)
    return "removed by the engine"
