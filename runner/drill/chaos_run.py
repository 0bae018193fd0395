"""Carries out a random trial, and judges it by the cloud's API, the records of the analyses and the results folder."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from runner.drill.batch import DrillBatch
from runner.drill.chaos import JOBS, VMS, ChaosTrial, FollowUp, Injection
from runner.drill.evidence import Evidence
from runner.drill.random_faults import RandomFault, Scene
from runner.drill.site import Client, DrillSite
from runner.drill.steps import Step, wait_for_step
from runner.drill.verdict import Verdict
from runner.drill.witness import SafeSince, count_ends, find_needless_runs, read_statements
from runner.errors import HpcError

CLIENT_LIMIT_S = 300.0
MOST_COMMANDS = 4  # that a user runs until a batch is over
FAILING = f"j-{JOBS - 1}"
LEFT_OVER = 8
MAY_END = frozenset(
    {RandomFault.SIGINT, RandomFault.API_403, RandomFault.FULL_DISK, RandomFault.KILL_ENGINE}
)  # faults after which a client may end its batch


def chaos_batch(site: DrillSite, trial: ChaosTrial) -> DrillBatch:
    """Return the batch of a random trial."""
    name = f"r-{trial.seed}-{trial.number}"
    witness = site.folder / f"{name}.witness"
    return DrillBatch(name=name, durations_s=trial.durations_s, vms=VMS, witness=witness, failing={FAILING})


class ChaosRun:
    """Carries out one random trial. ``carry_out`` never raises HpcError: what went wrong is in the verdict."""

    def __init__(self, site: DrillSite, trial: ChaosTrial) -> None:
        self._site = site
        self._trial = trial
        self._batch = chaos_batch(site, trial)
        self._evidence = Evidence(site=site, batch=self._batch, results=site.folder / self._batch.name / "results")
        self._chance = random.Random(f"{trial.name}/scene")  # noqa: S311 (moments, not secrets)
        self._problems: list[str] = []
        self._clients: list[Client] = []
        self._gone_at: float | None = None

    def carry_out(self) -> Verdict:
        """Carry out the trial, from the batch's start to its end."""
        verdict = Verdict(trial=self._trial, batch=self._batch.name, jobs=JOBS)
        safe_since = SafeSince(self._site.context.cloud.results, self._batch.name)
        try:
            verdict = self._carry_out(verdict)
        except HpcError as error:
            self._problems.append(f"the drill itself could not continue: {error}")
        finally:
            safe = safe_since.close()
        if not self._problems or verdict.ended_by:
            self._check_witness(safe)
        return replace(verdict, problems=tuple(self._problems))

    def _carry_out(self, verdict: Verdict) -> Verdict:
        file = self._batch.write(self._site.folder / self._batch.name)
        words = ["run", "--jobs", str(file), "--yes", "--json", "--results", str(self._evidence.results)]
        client = self._site.start(*words, *(["--detach"] if self._trial.is_detached else []))
        scene = Scene(evidence=self._evidence, client=client, chance=self._chance)
        self._clients.append(client)
        self._inject_all(scene)
        left = self._wait_for_nets(scene)
        finished = self._evidence.finished()
        ended_by = self._resume(scene)
        left = left or self._evidence.left()
        self._check_clients(scene)
        self._check_results(finished, is_whole=self._is_whole(scene, ended_by))
        return replace(
            verdict,
            finished=len(finished),
            downloaded=len(self._evidence.downloaded()),
            empty_after_s=self._gone_at,
            client_exit_code=client.exit_code,
            ended_by=ended_by,
            left_over=left,
        )

    def _is_whole(self, scene: Scene, ended_by: str) -> bool:
        """Return whether every analysis of the batch must have results."""
        if scene.was_ended:
            return False
        return ended_by.endswith("attach") or not any(
            injection.fault in MAY_END for injection in self._trial.injections
        )

    def _inject_all(self, scene: Scene) -> None:
        """Inject each fault in a thread of its own, at its moment; then wait for the client and all other commands to end."""
        if not wait_for_step(self._evidence.journal, Step.BEGIN, jobs=JOBS, is_running=scene.client.is_running):
            self._problems.append(f"the batch never began: {scene.client.last_output()}")
        threads = [
            threading.Thread(target=self._inject, args=(scene, injection)) for injection in self._trial.injections
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client in [scene.client, *scene.others]:
            self._wait_for_end(client)
        self._clients += scene.others
        if self._site.faults is not None:
            self._site.faults.clear()

    def _inject(self, scene: Scene, injection: Injection) -> None:
        try:
            end = time.monotonic() + injection.at_s
            while time.monotonic() < end and scene.client.is_running():
                time.sleep(min(0.1, max(0.0, end - time.monotonic())))
            injection.fault.inject(scene)
        except Exception as error:
            self._problems.append(f"{injection.fault.value} could not be injected: {error!r}")

    def _wait_for_end(self, client: Client) -> None:
        if not client.has_ended_within(CLIENT_LIMIT_S):
            stacks = client.read_stacks()
            self._problems.append(f"a command did not end within {CLIENT_LIMIT_S:.0f} s; its stacks were: {stacks}")
        client.wait(1.0)

    def _wait_for_nets(self, scene: Scene) -> tuple[str, ...]:
        """If the user attaches late: return what is billable after the safety nets have had their time, without a client."""
        if self._trial.follow_up is not FollowUp.LATE:
            return ()
        began = time.monotonic()
        left = self._evidence.wait_for_nets(scene.descendants, on_look=lambda items: None, hung=scene.hung)
        self._gone_at = None if left else round(time.monotonic() - began, 1)
        return left

    def _resume(self, scene: Scene) -> str:
        """Run the user's commands until the batch is over; return the verbs."""
        verbs: list[str] = []
        while verb := self._next_verb():
            if len(verbs) == MOST_COMMANDS:
                self._problems.append(
                    f"the batch is not over after {', '.join(verbs)}: {self._clients[-1].last_output()[-1500:]}"
                )
                break
            self._run_verb(verb, scene)
            verbs.append(verb)
        return ", ".join(verbs)

    def _next_verb(self) -> str:
        if self._evidence.is_open():
            return "attach"
        journal = self._site.context.journals.read(self._batch.name)
        if journal is not None and not journal.has_ended:
            return "cleanup"
        if self._site.context.cloud.results.result_sets(self._batch.name):
            return "results"
        return "cleanup" if self._has_only_records() else ""

    def _has_only_records(self) -> bool:
        """Return whether only records of the batch are left here: a client with a copy of the state folder took it over and ended it."""
        is_copied = any(injection.fault is RandomFault.COPIED_STATE for injection in self._trial.injections)
        return is_copied and bool(self._evidence.left()) and not self._evidence.billed()

    def _run_verb(self, verb: str, scene: Scene) -> None:
        words = {
            "attach": scene.attach_words(),
            "cleanup": ["cleanup", "--batch", self._batch.name, "--yes", "--json"],
            "results": ["results", "--batch", self._batch.name, "--json", "--results", str(self._evidence.results)],
        }[verb]
        scene.was_ended |= verb == "cleanup" and not self._has_only_records()
        count = 2 if verb == "attach" and self._trial.follow_up is FollowUp.TWICE else 1
        clients = [self._site.start(*words) for _ in range(count)]
        for client in clients:
            self._wait_for_end(client)
        self._clients += clients

    def _check_clients(self, scene: Scene) -> None:
        """Check that what the commands reported is true, and that none crashed or left resources over."""
        for client in self._clients:
            if client.has_crashed():
                self._problems.append(f"a fault in opensees-hpc: {client.last_output()[-2500:]}")
            if client.exit_code == LEFT_OVER and client not in scene.cleanups:
                self._problems.append(f"resources were left over: {client.last_output()[-1500:]}")
            self._check_summary(client, is_last=client is self._clients[-1])

    def _check_summary(self, client: Client, *, is_last: bool) -> None:
        summary, downloaded = client.summary(), self._evidence.downloaded()
        states = {job["name"]: job["status"] for job in summary.get("jobs", [])}
        self._problems += self._evidence.false_reports(states)
        if client.exit_code == 0 and states and not summary.get("detached"):
            self._problems.append("exit code 0, but one analysis fails on purpose")
        if is_last and (lost := [name for name, state in states.items() if state == "lost" and name in downloaded]):
            self._problems.append(f"reported as lost, but downloaded: {', '.join(sorted(lost))}")

    def _check_results(self, finished: Mapping[str, int], *, is_whole: bool) -> None:
        downloaded = self._evidence.downloaded()
        self._problems += self._batch.problems_with_results(self._evidence.results)
        self._problems += [f"{job} had finished, but its results are lost" for job in finished if job not in downloaded]
        if is_whole and (missing := set(self._batch.jobs) - set(downloaded)):
            self._problems.append(f"the batch has ended without {', '.join(sorted(missing))}")
        journal = self._site.context.journals.read(self._batch.name)
        if journal is not None and not journal.has_ended:
            self._problems.append("its journal has not ended")

    def _check_witness(self, safe: Mapping[tuple[str, int], float]) -> None:
        """Check that each analysis ran to its end once, except those whose results were lost with their VM."""
        statements = read_statements(self._batch.witness) if self._batch.witness else []
        self._problems += find_needless_runs(statements, safe, client_lives_until_s=time.time())
        counts = count_ends(statements)
        if more := {job: count for job, count in counts.items() if count > 2}:
            self._problems.append(f"ran to their ends more than twice: {more}")
