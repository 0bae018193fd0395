"""The admin API under ``/_local/``, which Google does not have: requests of tests and `invoke local.*` to the cloud itself.

Only the owner may call it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from runner.emulator.compute import PREEMPTION_NOTICE_S, Lifecycle, Parts
from runner.emulator.control.scenario import Scenario
from runner.emulator.faults import ACTS, KINDS
from runner.emulator.http import Call, Rule
from runner.emulator.state import REGIONS, Document
from runner.emulator.wire import api_errors
from runner.errors import CloudError


class Admin:
    """``describe`` returns the endpoint document, ``stop`` ends the process, ``empty`` deletes everything in the store."""

    def __init__(
        self,
        parts: Parts,
        lifecycle: Lifecycle,
        scenario: Scenario,
        *,
        describe: Callable[[], Document],
        stop: Callable[[], None],
        empty: Callable[[], Awaitable[None]],
    ) -> None:
        self._parts = parts
        self._lifecycle = lifecycle
        self._scenario = scenario
        self._describe = describe
        self._stop = stop
        self._empty = empty

    def rules(self) -> list[Rule]:
        return [replace(rule, owner_only=True) for rule in self._rules()]

    def _rules(self) -> list[Rule]:
        return [
            Rule(method="GET", path="/_local/status", act=self.status),
            Rule(method="POST", path="/_local/stop", act=self.stop),
            Rule(method="POST", path="/_local/reset", act=self.reset),
            Rule(method="GET", path="/_local/faults", act=self.list_faults),
            Rule(method="POST", path="/_local/faults", act=self.add_faults),
            Rule(method="DELETE", path="/_local/faults", act=self.remove_faults),
            Rule(method="DELETE", path="/_local/faults/{id}", act=self.remove_faults),
            Rule(method="GET", path="/_local/scenario", act=self.list_steps),
            Rule(method="POST", path="/_local/scenario", act=self.add_steps),
            Rule(method="DELETE", path="/_local/scenario", act=self.remove_steps),
            Rule(method="GET", path="/_local/quotas", act=self.list_quotas),
            Rule(
                method="POST",
                path="/_local/quotas",
                act=self.set_quota,
                fields={"region": str, "metric": str, "limit": float},
            ),
            Rule(method="POST", path="/_local/preempt", act=self.preempt, fields={"instance": str, "notice_s": float}),
            Rule(method="POST", path="/_local/clock", act=self.advance, fields={"advance_s": float}),
        ]

    def status(self, call: Call) -> Document:
        instances = [
            {"name": document["name"], "status": document["status"], "key": key}
            for key, document in self._parts.store.items(f"projects/{self._parts.settings.project}/zones/")
            if document.get("kind") == "compute#instance"
        ]
        return {**self._describe(), "instances": instances, "faults": len(self._parts.faults.list_armed())}

    def stop(self, call: Call) -> Document:
        self._stop()
        return {"stopping": True}

    async def reset(self, call: Call) -> Document:
        """Delete every instance and all other resources, and reset faults, quotas and the clock."""
        for key, document in self._parts.store.items(f"projects/{self._parts.settings.project}/zones/"):
            if document.get("kind") == "compute#instance":
                await self._lifecycle.delete(key, notice_s=0.0)
        self._parts.faults.remove()
        self._scenario.clear()
        await self._empty()
        return {"reset": True}

    def list_faults(self, call: Call) -> Document:
        kinds = {name: {"match": kind.searched_in, **kind.defaults} for name, kind in {**KINDS, **ACTS}.items()}
        waiting = self._scenario.waiting()
        return {"faults": self._parts.faults.list_armed(), "scenario": waiting, "kinds": kinds}

    async def add_faults(self, call: Call) -> Document:
        """Arm one fault, or those of ``{"faults": […]}``."""
        wanted = call.body.get("faults", [call.body])
        added = [self._scenario.begin(fault) for fault in wanted]
        await self._scenario.settle()
        return {"faults": added}

    def list_steps(self, call: Call) -> Document:
        return {"scenario": self._scenario.waiting()}

    def add_steps(self, call: Call) -> Document:
        """Add the steps of ``{"scenario": [{"at": …, "fault": {…}}, …]}``."""
        steps = call.body.get("scenario")
        if not isinstance(steps, list):
            raise api_errors.invalid("a scenario is a list of steps, each with `at` and `fault`")
        return {"scenario": self._scenario.add(steps)}

    def remove_steps(self, call: Call) -> Document:
        return {"removed": self._scenario.clear()}

    def remove_faults(self, call: Call) -> Document:
        return {"removed": self._parts.faults.remove(call.params.get("id"))}

    def list_quotas(self, call: Call) -> Document:
        return {"quotas": {region: self._parts.quotas.documents(region) for region in REGIONS}}

    def set_quota(self, call: Call) -> Document:
        region = call.body.get("region") or self._parts.settings.region
        limits = self._parts.quotas.limits(region)
        if region not in REGIONS or call.body.get("metric") not in limits:
            raise api_errors.invalid(f"no such quota; metrics: {', '.join(limits)}; regions: {', '.join(REGIONS)}")
        self._parts.quotas.set_limit(region, call.body["metric"], float(call.body["limit"]))
        return {"quotas": self._parts.quotas.documents(region)}

    def preempt(self, call: Call) -> Document:
        """Preempt the first running instance that ``instance`` matches, a name or a path; return its operation."""
        wanted = str(call.body.get("instance", ""))
        for key, document in self._parts.store.items(f"projects/{self._parts.settings.project}/zones/"):
            if document.get("kind") == "compute#instance" and re.search(rf"(^|/){re.escape(wanted)}$", key):
                if document["status"] != "RUNNING" or not document["scheduling"]["preemptible"]:
                    raise api_errors.invalid(f"{key} is not a running spot instance")
                notice_s = call.body.get("notice_s")
                return self._lifecycle.begin_preemption(
                    key, notice_s=PREEMPTION_NOTICE_S if notice_s is None else float(notice_s)
                )
        raise api_errors.not_found(wanted)

    def advance(self, call: Call) -> Document:
        seconds = float(call.body.get("advance_s") or 0.0)
        if seconds < 0:
            raise CloudError("the clock only goes forward", reason="invalid", status=400)
        self._parts.clock.advance(seconds)
        return {"now": self._parts.clock.now()}
