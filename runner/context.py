"""The context of a command: settings, the packages below ready to use, and the listener. ``runner.wiring`` builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from runner.google import Buckets, Compute, Instance, Login, OsLogin
from runner.journal import Journals
from runner.model.events import Listener, Phases
from runner.model.settings import Settings
from runner.results import ResultStore

if TYPE_CHECKING:
    from runner.hardware.opensees import OpenSeesInterface
    from runner.inventory import Inventory
    from runner.journal import Journal
    from runner.ssh import Connection
    from runner.stacks import Stacks


class Cloud(Protocol):
    """The outside services, each built when it is first used. Calling ``open`` twice is harmless.

    Raises (open): UnreachableError or MissingToolError, each with its remedy.
    """

    @property
    def compute(self) -> Compute:
        """The Compute API."""

    @property
    def results(self) -> ResultStore:
        """The results bucket."""

    @property
    def buckets(self) -> Buckets:
        """Buckets other than the results bucket."""

    @property
    def stacks(self) -> Stacks:
        """The Pulumi engine."""

    @property
    def logins(self) -> OsLogin:
        """The operator's OS Login profile."""

    @property
    def inventory(self) -> Inventory:
        """Everything of ours that exists, and its removal."""

    def open(self, *, needs_engine: bool = True) -> None:
        """Make sure that the cloud answers; starts the embedded cloud if it is the target.

        ``needs_engine``: raise the error at once if the Pulumi CLI is missing.
        """

    def check_bake(self, recipe: str) -> None:
        """Make sure that this computer has what a bake with this recipe needs from it: nothing, where VMs have all of it.

        Raises: MissingToolError, with all that is missing. Call it before anything is created.
        """

    def warm_up(self) -> None:
        """Begin to load in the background what a batch needs soon. Harmless if it is not needed."""

    def prepare_by_hand(self) -> None:
        """Let plain ``pulumi`` in infra/* find the settings of our stacks."""

    def pulumi_environment(self) -> dict[str, str]:
        """Return what a plain ``pulumi`` needs in its environment to work on our stacks; create their passphrase if there is none.

        Raises: CloudError when a state in a bucket has the passphrase and the bucket does not answer.
        """

    def connect(self, instance: Instance, login: Login, host_keys: Mapping[str, str]) -> Connection:
        """Return an SSH connection to an instance, its host key verified against ``host_keys`` (type to base64)."""

    def job_interface(
        self, instance: Instance, login: Login, host_keys: Mapping[str, str], batch: str, *, limit_s: float
    ) -> OpenSeesInterface:
        """Return the job interface of an instance, with the batch's workspace, if it answers within ``limit_s``."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """The one value that every command is handed, beside its own arguments.

    ``listener``: receives the events. ``phases``: how long each phase of the command took.
    """

    settings: Settings
    cloud: Cloud
    journals: Journals
    root: Path
    state_folder: Path
    results_folder: Path
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    listener: Listener = field(default_factory=Listener)
    phases: Phases = field(default_factory=lambda: Phases(Listener()))

    def with_listener(self, listener: Listener) -> Self:
        """Return the context of a command that reports to this listener, with no phases yet."""
        return replace(self, listener=listener, phases=Phases(listener))

    def with_new_phases(self) -> Self:
        """Return the same context for a part of the command whose phases are counted apart."""
        return self.with_listener(self.listener)

    def with_journal(self, journal: Journal) -> JournalContext:
        """Return the context of what happens while this journal is owned."""
        own = {each.name: getattr(self, each.name) for each in fields(Context)}
        return JournalContext(**own, journal=journal)

    @property
    def reporting_journals(self) -> Journals:
        """The journals, for the command that owns one of them: what cannot be written is reported as a warning."""
        return replace(self.journals, on_trouble=self.warn)

    def warn(self, message: str) -> None:
        """Report what the user should know, but what does not end the command."""
        self.listener.warn(message)

    @property
    def is_local(self) -> bool:
        """Whether the target is the embedded cloud, which costs nothing."""
        return self.settings.target == "local"


@dataclass(frozen=True, kw_only=True)
class JournalContext(Context):
    """A context with the open journal of the batch or bake that the command works on."""

    journal: Journal
