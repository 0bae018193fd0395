"""The part of the inventory that is only a record: Pulumi's stacks. They cost nothing, but may be out of date."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from runner.errors import HpcError, NotFoundError, StackError
from runner.model import names
from runner.model.leftover import BASE_PART, SETTINGS_ONLY, Item, Kind
from runner.stacks import ProjectName, StackRecords, Stacks, removal_command

PURPOSE_LABELS: Mapping[ProjectName, str] = {"analysis": "batch", "image": "bake"}
PROJECTS: tuple[ProjectName, ...] = ("analysis", "image", "base")


class RememberedStacks:
    """Stacks by their settings and state files. To remove one is to forget it: its resources are removed before, by label.

    ``engine`` returns the engine that removes them properly; where it cannot, their files are moved away. It also lists the
    stacks of a state that is not on this computer; stacks of other computers have no owner.
    """

    kinds = (Kind.STACK,)

    def __init__(self, records: StackRecords, engine: Callable[[], Stacks], owner: str) -> None:
        self._records = records
        self._engine = engine
        self._owner = owner

    def list_items(self, kind: Kind, labels: Mapping[str, str]) -> Sequence[Item]:
        """List the stacks of all projects; where the labels name a batch or a bake, those of its project."""
        asked = [project for project in PROJECTS if PURPOSE_LABELS.get(project) in labels]
        return [item for project in asked or PROJECTS for item in self._of_project(project)]

    def remove(self, item: Item) -> str:
        """See ``forget_stack``."""
        project = next(project for project in PROJECTS if project == item.location)
        return forget_stack(self._engine, self._records, project, item.name)

    def _of_project(self, project: ProjectName) -> list[Item]:
        records, ours = self._records, self._records.names(project)
        existing = records.names_in_state(project) if records.has_state else self._names_by_engine(project)
        known = {name: {"owner": self._owner} | records.labels(project, name) for name in ours}
        return [
            self._item(project, name, known.get(name, {}), state="" if name in existing else SETTINGS_ONLY)
            for name in (*ours, *sorted(existing.difference(ours)))
        ]

    def _names_by_engine(self, project: ProjectName) -> set[str]:
        try:
            return set(self._engine().names(project))
        except NotFoundError:  # no bucket for the state, so no stacks either
            return set()

    @staticmethod
    def _item(project: ProjectName, name: str, known: Mapping[str, str], *, state: str) -> Item:
        marks = {"app": names.APP, **known}
        marks[PURPOSE_LABELS.get(project, "part")] = name if project in PURPOSE_LABELS else BASE_PART
        return Item(kind=Kind.STACK, name=name, location=project, labels=marks, state=state)


def forget_stack(engine: Callable[[], Stacks], records: StackRecords, project: ProjectName, name: str) -> str:
    """Forget a stack whose resources are gone: by the engine, else by its files; return how it was done.

    Raises:
        StackError: neither was possible; its remedy is the command that finishes the work.
    """
    try:
        engine().remove(project, name, force=True)
    except HpcError as by_engine:
        try:
            records.forget(project, name)
        except StackError as error:
            raise StackError(f"{error} ({by_engine})", remedy=removal_command(project, name)) from by_engine
        return f"its state file was moved away, because the engine could not remove it: {by_engine}"
    records.forget_settings(project, name)
    return "removed by the engine"
