"""A batch's bookkeeping: every job ends once, cores are never oversubscribed, whatever VMs do."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runner.model.roster import MOST_ATTEMPTS, Roster, Start, VMEntry, VMState
from runner.model.states import JobState

CORES = 4


def _vm(name: str, provisioning: str = "spot") -> VMEntry:
    return VMEntry(name=name, cores=CORES, provisioning=provisioning)


def _roster(widths: list[int], *, vms: int = 1, fallback: bool = False) -> Roster:
    roster = Roster([(f"j{i}", np) for i, np in enumerate(widths)], fallback_to_standard=fallback)
    for index in range(vms):
        roster.add_vm(_vm(f"b-{index}"))
        roster.vm_ready(f"b-{index}")
    return roster


def _lose(roster: Roster, vm: str) -> None:
    """A VM is lost, and nothing of its jobs is found."""
    for job in roster.vm_lost(vm):
        assert roster.give_back(job.name, job.attempt)


def test_first_come_first_served() -> None:
    roster = _roster([3, 2, 1])
    assert roster.next_starts() == [Start(job="j0", attempt=1, vm="b-0")]
    roster.solver_ended("j0", 1)
    assert [start.job for start in roster.next_starts()] == ["j1", "j2"]


def test_jobs_of_a_lost_vm_go_back_to_the_head_of_the_queue() -> None:
    roster = _roster([2, 2, 2])
    roster.next_starts()
    _lose(roster, "b-0")
    assert roster.vm_lost("b-0") == []
    assert not roster.is_current("j0", 1)
    roster.add_vm(_vm("b-1"))
    assert roster.next_starts() == []
    roster.vm_ready("b-1")
    assert sorted(start.job for start in roster.next_starts()) == ["j0", "j1"]
    assert roster.job("j0").attempt == 2


def test_a_finished_job_is_not_run_again_when_its_vm_goes() -> None:
    roster = _roster([2, 2])
    roster.next_starts()
    roster.end("j0", JobState.SUCCEEDED)
    assert [job.name for job in roster.vm_lost("b-0")] == ["j1"]
    assert roster.job("j0").state is JobState.SUCCEEDED


def test_results_on_their_way_when_the_vm_goes() -> None:
    roster = _roster([2, 2])
    roster.next_starts()
    roster.solver_ended("j0", 1)
    assert [job.name for job in roster.vm_lost("b-0")] == ["j0", "j1"]
    assert roster.new_vms_wanted(most=5, cores=CORES) == 1, "for j1, which may have ended as well"
    roster.end("j1", JobState.SUCCEEDED)
    assert roster.is_current("j0", 1)
    assert roster.new_vms_wanted(most=5, cores=CORES) == 0
    assert roster.give_back("j0", 1)
    assert not roster.give_back("j0", 1)
    assert roster.job("j0").state is JobState.WAITING


def test_a_job_in_doubt_neither_runs_again_nor_lets_anybody_leave() -> None:
    roster = _roster([2, 2], vms=2)
    roster.next_starts()
    assert roster.is_settled
    roster.vm_lost("b-0")
    assert roster.next_starts() == []
    assert not roster.is_settled
    assert not roster.is_over
    roster.end("j0", JobState.SUCCEEDED)
    assert roster.give_back("j1", 1)
    assert roster.next_starts() == [Start(job="j1", attempt=2, vm="b-1")]


def test_a_job_that_waits_can_end() -> None:
    roster = _roster([2, 2], vms=0)
    roster.end("j0", JobState.FAILED)
    roster.add_vm(_vm("b-0"))
    roster.vm_ready("b-0")
    assert [start.job for start in roster.next_starts()] == ["j1"]


def test_numbers_of_earlier_attempts_are_not_used_again() -> None:
    roster = _roster([1, 1], vms=0)
    roster.note_attempt("j0", 3)
    roster.restore("j1", JobState.SUCCEEDED)
    roster.note_attempt("j1", 9)
    roster.add_vm(_vm("b-5"))
    roster.vm_ready("b-5")
    assert roster.next_starts() == [Start(job="j0", attempt=4, vm="b-5")]


def test_new_vms_only_for_what_does_not_fit() -> None:
    roster = _roster([2, 2, 2, 2], vms=0)
    assert roster.new_vms_wanted(most=5, cores=CORES) == 2
    roster.add_vm(_vm("b-0"))
    roster.add_vm(_vm("b-1"))
    assert roster.new_vms_wanted(most=5, cores=CORES) == 0
    roster.vm_lost("b-0")
    assert roster.new_vms_wanted(most=5, cores=CORES) == 1
    assert roster.new_vms_wanted(most=1, cores=CORES) == 0


def test_standard_after_two_preemptions_or_in_the_tail_if_allowed() -> None:
    roster = _roster([2] * 4, fallback=True)
    for name in ("b-0", "b-1"):
        if name != "b-0":
            roster.add_vm(_vm(name))
            roster.vm_ready(name)
        roster.next_starts()
        assert roster.provisioning_of_next("spot") == "spot"
        _lose(roster, name)
    assert roster.provisioning_of_next("spot") == "standard"
    assert _roster([2], fallback=False).provisioning_of_next("spot") == "spot"
    tail = _roster([1] * 10, vms=3, fallback=True)
    tail.next_starts()
    for index in range(9):
        tail.end(f"j{index}", JobState.SUCCEEDED)
    assert tail.provisioning_of_next("spot") == "spot"
    tail.vm_lost(tail.job("j9").vm)
    assert tail.provisioning_of_next("spot") == "standard"


def test_a_job_that_loses_every_vm_is_given_up() -> None:
    roster = _roster([1], vms=0)
    for number in range(MOST_ATTEMPTS):
        roster.add_vm(_vm(f"b-{number}"))
        roster.vm_ready(f"b-{number}")
        roster.next_starts()
        _lose(roster, f"b-{number}")
    assert roster.job("j0").state is JobState.LOST
    assert roster.is_over


class Batch(RuleBasedStateMachine):
    """Machines come and go, jobs end, in any order."""

    @initialize(widths=st.lists(st.integers(1, CORES), min_size=1, max_size=8))
    def begin(self, widths: list[int]) -> None:
        self.roster = _roster(widths, vms=0)
        self.made = 0
        self.ended: dict[str, int] = {}

    @rule()
    def add(self) -> None:
        self.roster.add_vm(_vm(f"b-{self.made}"))
        self.made += 1

    @precondition(lambda self: any(m.state is VMState.COMING for m in self.roster.vms))
    @rule()
    def ready(self) -> None:
        self.roster.vm_ready(next(m.name for m in self.roster.vms if m.state is VMState.COMING))

    @precondition(lambda self: any(m.state is not VMState.LOST for m in self.roster.vms))
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        alive = [m.name for m in self.roster.vms if m.state is not VMState.LOST]
        self.roster.vm_lost(data.draw(st.sampled_from(alive)))

    @precondition(lambda self: any(self.roster.is_lost(j.vm) for j in self.roster.jobs))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        in_doubt = [j for j in self.roster.jobs if self.roster.is_lost(j.vm)]
        job = data.draw(st.sampled_from(in_doubt))
        assert self.roster.give_back(job.name, job.attempt) == (job.name not in self.ended)

    @rule()
    def start(self) -> None:
        for start in self.roster.next_starts():
            assert not self.roster.is_lost(start.vm)

    @precondition(lambda self: any(j.state is JobState.RUNNING for j in self.roster.jobs))
    @rule(data=st.data(), first_frees=st.booleans())
    def end(self, data: st.DataObject, first_frees: bool) -> None:
        running = [j for j in self.roster.jobs if j.state is JobState.RUNNING]
        job = data.draw(st.sampled_from(running))
        if first_frees:
            self.roster.solver_ended(job.name, job.attempt)
        else:
            self.roster.end(job.name, JobState.SUCCEEDED)
            self.ended[job.name] = self.ended.get(job.name, 0) + 1

    @invariant()
    def cores_are_never_oversubscribed(self) -> None:
        if not hasattr(self, "roster"):
            return
        for vm in self.roster.vms:
            there = [j for j in self.roster.jobs if j.vm == vm.name and j.state is JobState.RUNNING]
            assert sum(j.np for j in there if not j.frees_cores) <= CORES

    @invariant()
    def every_job_ends_once(self) -> None:
        assert all(count == 1 for count in getattr(self, "ended", {}).values())


TestBatch = Batch.TestCase
TestBatch.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
