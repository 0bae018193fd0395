"""``Stacks`` with the real engine: the Pulumi CLI and our programs, run inline."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from runner.errors import StackError
from runner.stacks.backend import FolderBackend, read_key
from runner.stacks.contract import EngineLimit, OnProgress, ProjectName, StackSpec
from runner.stacks.errors import describe_failure
from runner.stacks.events import EngineRun
from runner.stacks.files import StackFiles
from runner.stacks.locks import StackLock, read_locks
from runner.stacks.program import InlineProgram, Program
from runner.stacks.repair import repair_stack

if TYPE_CHECKING:
    from pulumi.automation.errors import CommandError

    from runner.stacks.engine import EngineCommand
    from runner.stacks.sdk import LeanStack, LeanWorkspace

Result = TypeVar("Result")
LOCK_WAIT_S = 30.0
LOCK_LOOK_S = 0.5
ENGINE_ENVIRONMENT = {"PULUMI_SKIP_UPDATE_CHECK": "1", "PULUMI_CONSOLE_SILENT": "1"}
# A VM that is refused must not keep others from being created, nor one that cannot be deleted others from being deleted.
RUN_OPTIONS: dict[str, Any] = {
    "color": "never",
    "suppress_progress": True,
    "suppress_outputs": True,
    "continue_on_error": True,
}


@dataclass(frozen=True, kw_only=True)
class EngineSite:
    """Where the engine and its files are.

    ``cli_bin`` is the folder of the CLI; ``infra`` the folder with the projects; ``work`` a folder of the user's, one for each
    state; ``env`` the whole environment of the CLI: PATH, HOME, PULUMI_HOME, PULUMI_BACKEND_URL, the passphrase, and
    PULUMI_DEBUG_PROVIDERS where the cloud is the embedded one. ``secrets_provider``: what encrypts secrets of new stacks,
    as the CLI's option has it; '' for the passphrase.
    """

    cli_bin: Path
    infra: Path
    work: Path
    env: Mapping[str, str]
    secrets_provider: str = ""


class PulumiStacks:
    """See ``Stacks``. ``programs`` are loaders: each imports a project's program and returns it; that is done in a thread, early."""

    def __init__(self, site: EngineSite, programs: Mapping[ProjectName, Callable[[], Program]]) -> None:
        self._site = site
        self._loading = {project: _Loading(load) for project, load in programs.items()}
        self._engine: EngineCommand | None = None
        self._lock = threading.Lock()

    def preload(self, project: ProjectName) -> None:
        """Begin to import a project's program, which takes a second, in the background."""
        self._loading[project].start()

    def up(self, spec: StackSpec, on_progress: OnProgress, *, limit: EngineLimit | None = None) -> Mapping[str, object]:
        """See ``Stacks.up``."""
        self.preload(spec.project)
        is_new = self._create(spec)
        stack = self._stack(spec.project, spec.name, InlineProgram(self._loading[spec.project].finish), limit=limit)
        run = EngineRun(on_progress)
        self._drive("up", stack, run, lambda: stack.up(on_event=run.see, refresh=not is_new, **RUN_OPTIONS))
        return run.outputs

    def destroy(
        self, project: ProjectName, name: str, on_progress: OnProgress, *, limit: EngineLimit | None = None
    ) -> None:
        """See ``Stacks.destroy``."""
        self._repair(project, name)
        self._restore_key(project, name)
        stack = self._stack(project, name, limit=limit)
        run = EngineRun(on_progress)
        self._drive(
            "destroy",
            stack,
            run,
            lambda: _unless_missing(lambda: stack.destroy(on_event=run.see, refresh=True, **RUN_OPTIONS)),
            lock_wait_s=LOCK_WAIT_S if limit is None else min(LOCK_WAIT_S, limit.limit_s),
        )

    def remove(self, project: ProjectName, name: str, *, force: bool = False) -> None:
        """See ``Stacks.remove``."""
        workspace = self._workspace(project)
        self._drive(
            "removal",
            self._stack(project, name),
            EngineRun(lambda progress: None),
            lambda: _unless_missing(lambda: workspace.remove_stack(name, force=force)),
            lock_wait_s=0.0 if force else LOCK_WAIT_S,
        )
        self._files(project).forget_settings(name)

    def outputs(self, project: ProjectName, name: str) -> Mapping[str, object] | None:
        """See ``Stacks.outputs``."""
        text = self._ask(project, f"outputs of {project}/{name}", ["stack", "output", "--json", "--stack", name])
        return None if text is None else dict(json.loads(text))

    def names(self, project: ProjectName) -> list[str]:
        """See ``Stacks.names``."""
        text = self._ask(project, f"list of {project} stacks", ["stack", "ls", "--json"])
        return sorted(stack["name"].rsplit("/", 1)[-1] for stack in json.loads(text or "[]"))

    def interrupt(self) -> None:
        """See ``Stacks.interrupt``."""
        if self._engine is not None:
            self._engine.interrupt()

    def kill(self) -> None:
        """See ``Stacks.kill``."""
        if self._engine is not None:
            self._engine.kill()

    def link_settings(self) -> None:
        """Link the settings of this state's stacks for ``pulumi`` by hand, after another state was in use."""
        for project in self._loading:
            files = self._files(project)
            for stack in files.stacks_with_settings():
                files.link_settings(stack)

    def _repair(self, project: ProjectName, name: str) -> None:
        """Repair files that a killed engine left half written, which would stop the next one."""
        repair_stack(self._site.env.get("PULUMI_BACKEND_URL", ""), project, name)

    def _create(self, spec: StackSpec) -> bool:
        """Write the settings and create the stack; return False if it existed. The engine takes its lock even then."""
        from pulumi.automation.errors import StackAlreadyExistsError

        self._files(spec.project).write_settings(spec.name, spec.config)
        self._repair(spec.project, spec.name)
        stack = self._stack(spec.project, spec.name)
        is_new = True

        def create() -> None:
            nonlocal is_new
            try:
                stack.workspace.create_stack(spec.name)
            except StackAlreadyExistsError:
                is_new = False

        self._drive("creation", stack, EngineRun(lambda progress: None), create)
        if not is_new:
            self._restore_key(spec.project, spec.name)
        return is_new

    def _restore_key(self, project: ProjectName, name: str) -> None:
        """Copy the key of another computer's stack from the state to the settings: the engine looks for it only there."""
        files = self._files(project)
        if not self._site.secrets_provider or files.has_key(name):
            return
        text = self._ask(project, f"state of {project}/{name}", ["stack", "export", "--stack", name])
        if text is not None:
            files.write_key(name, read_key(text) or {"secretsprovider": self._site.secrets_provider})

    def _drive(
        self,
        verb: str,
        stack: LeanStack,
        run: EngineRun,
        act: Callable[[], object],
        *,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> None:
        """Run an engine; remove locks of dead processes, raise our errors, and a listener's own error last."""
        from pulumi.automation.errors import CommandError, ConcurrentUpdateError

        from runner.stacks.sdk import read_stderr

        what = f"{verb} of {Path(stack.workspace.work_dir).name}/{stack.name}"
        give_up_at = time.monotonic() + lock_wait_s
        while True:
            try:
                act()
                break
            except ConcurrentUpdateError as error:
                for lock in self._remove_dead_locks(what, stack, error, give_up_at):
                    run.report_removed_lock(stack.name, lock)
            except CommandError as error:
                failure = describe_failure(what, run.complaints, read_stderr(error))
                raise failure from failure.__cause__ or error
            finally:
                if isinstance(stack.workspace.program, InlineProgram):
                    stack.workspace.program.end()
        if run.listener_error is not None:
            raise run.listener_error

    @staticmethod
    def _remove_dead_locks(what: str, stack: LeanStack, error: CommandError, give_up_at: float) -> list[StackLock]:
        """Remove locks whose holders are dead, and return them; wait a moment for one whose holder is alive, until it is time to give up.

        It is not known which processes of other computers are alive: their locks on a batch's stack expire by age, others never.
        """
        from runner.stacks.sdk import read_stderr

        locks = read_locks(str(error))
        is_batch = Path(stack.workspace.work_dir).name == "analysis"
        if locks and all(lock.is_stale() or (is_batch and lock.is_abandoned()) for lock in locks):
            stack.cancel()
            return locks
        if time.monotonic() >= give_up_at:
            raise StackError(
                f"{what} cannot start: the stack is locked by {', '.join(map(str, locks)) or 'another process'}",
                diagnostics=[read_stderr(error)],
                remedy=f"wait until it has ended, or if it is dead: pulumi cancel --stack {stack.name}",
            ) from error
        time.sleep(LOCK_LOOK_S)
        return []

    def _ask(self, project: ProjectName, what: str, args: list[str]) -> str | None:
        """Return what the CLI prints; None if the stack does not exist."""
        from pulumi.automation.errors import CommandError, StackNotFoundError

        from runner.stacks.sdk import read_stderr

        workspace = self._workspace(project)
        try:
            return workspace.pulumi_command.run(args, workspace.work_dir, workspace.env_vars or {}).stdout
        except StackNotFoundError:
            return None
        except CommandError as error:
            raise describe_failure(what, [], read_stderr(error)) from error

    def _stack(
        self,
        project: ProjectName,
        name: str,
        program: InlineProgram | None = None,
        *,
        limit: EngineLimit | None = None,
    ) -> LeanStack:
        from runner.stacks.sdk import LeanStack

        workspace = self._workspace(project, limit)
        workspace.program = program
        return LeanStack(name, workspace)

    def _workspace(self, project: ProjectName, limit: EngineLimit | None = None) -> LeanWorkspace:
        from runner.stacks.sdk import LeanWorkspace

        work_dir = self._files(project).prepare()
        return LeanWorkspace(
            work_dir=str(work_dir),
            pulumi_command=self._command().within(limit),
            secrets_provider=self._site.secrets_provider or None,
        )

    def _command(self) -> EngineCommand:
        from runner.stacks.engine import EngineCommand

        with self._lock:
            if self._engine is None:
                if backend := FolderBackend.find(self._site.env.get("PULUMI_BACKEND_URL", "")):
                    backend.create()
                self._engine = EngineCommand(self._site.cli_bin, _engine_environment(self._site.env))
            return self._engine

    def _files(self, project: ProjectName) -> StackFiles:
        return StackFiles(infra=self._site.infra, work=self._site.work, project=project)


class _Loading:
    """An import that runs in a thread; ``finish`` waits for it, and raises what it raised."""

    def __init__(self, load: Callable[[], Program]) -> None:
        self._load = load
        self._thread: threading.Thread | None = None
        self._program: Program | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._try_to_load, daemon=True)
                self._thread.start()

    def finish(self) -> Program:
        self.start()
        if self._thread is not None:
            self._thread.join()
        return self._program or self._load()

    def _try_to_load(self) -> None:
        try:
            self._program = self._load()
        except Exception:
            self._program = None


def _engine_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the engine's environment: with a provider to attach to, no plugin is looked up or downloaded."""
    attached = {"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"} if env.get("PULUMI_DEBUG_PROVIDERS") else {}
    return {**env, **ENGINE_ENVIRONMENT, **attached}


def _unless_missing(act: Callable[[], Result]) -> Result | None:
    """Call the action; a stack that does not exist is no error."""
    from pulumi.automation.errors import StackNotFoundError

    try:
        return act()
    except StackNotFoundError:
        return None
