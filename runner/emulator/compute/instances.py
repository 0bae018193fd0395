"""The API of instances: requests are checked here and carried out by ``Lifecycle``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runner.emulator.compute.instance_documents import InstancePlan, InstancePlanner
from runner.emulator.compute.instance_policies import POLICY_OWNER
from runner.emulator.compute.lifecycle import PRIVATE, Lifecycle
from runner.emulator.compute.operation_records import Work
from runner.emulator.compute.projects import common_metadata
from runner.emulator.compute.resources import ZONE, Collection, Parts
from runner.emulator.compute.scheduling import make_scheduling
from runner.emulator.compute.serial_ports import read_serial
from runner.emulator.http import Call, Rule
from runner.emulator.iam import Access, Caller
from runner.emulator.state import Document, region_of
from runner.emulator.wire import (
    api_errors,
    check_metadata,
    check_name,
    fresh_fingerprint,
    link,
    read_int,
    request_fields,
)

_POWER_VERBS = ("stop", "start", "reset")


class Instances(Collection):
    """``zones/z/instances``."""

    def __init__(self, parts: Parts, lifecycle: Lifecycle, planner: InstancePlanner) -> None:
        super().__init__(parts, "instances", "instance", ZONE)
        self._lifecycle = lifecycle
        self._planner = planner

    def rules(self) -> list[Rule]:
        one = self.one
        rules = [
            *self.read_rules(),
            self.rule("POST", self.base, "create", self.insert, request_fields.INSTANCE),
            self.rule("DELETE", one, "delete", self.delete),
            *(self.rule("POST", f"{one}/{verb}", verb, self.power) for verb in _POWER_VERBS),
            self.label_rule(),
            self.rule("POST", f"{one}/setMetadata", "setMetadata", self.set_metadata, request_fields.METADATA),
            self.rule("POST", f"{one}/setTags", "setTags", self.set_tags, request_fields.TAGS),
            self.rule("POST", f"{one}/setScheduling", "setScheduling", self.set_scheduling, request_fields.SCHEDULING),
            self.rule("POST", f"{one}/setMachineType", "setMachineType", self.set_machine_type, {"machineType": str}),
            self.rule("POST", f"{one}/setServiceAccount", "setServiceAccount", self.set_account, _ACCOUNT_FIELDS),
            self.rule("POST", f"{one}/setDiskAutoDelete", "update", self.set_disk_auto_delete),
            self.rule("POST", f"{one}/setDeletionProtection", "setDeletionProtection", self.set_protection),
            self.rule("POST", f"{one}/simulateMaintenanceEvent", "simulateMaintenanceEvent", self.simulate),
            self.rule("GET", f"{one}/serialPort", "getSerialPortOutput", self.read_serial_port),
            self.rule("GET", f"{one}/getGuestAttributes", "getGuestAttributes", self.read_guest_attributes),
        ]
        return [replace(rule, owners=(POLICY_OWNER,)) if rule.path.startswith(one) else rule for rule in rules]

    # ------------------------------------------------------------------ insert and delete

    def insert(self, call: Call) -> Document:
        if fault := self.parts.faults.hit("quota", call.resource, form="http"):
            raise api_errors.quota_exceeded(fault["metric"], float(fault["limit"]), region_of(call.params["zone"]))
        plan = self._planner.plan(call.body, call.params["zone"])
        self._check_act_as(call.caller, plan)
        for path, disk in (*plan.new_disks.items(), *plan.attached_disks.items()):
            self.parts.store.put(path, disk)
        private = {"address": plan.address, "preempted": False, "new_disks": list(plan.new_disks), "guest": {}}
        self.parts.store.put(PRIVATE + plan.key, private)
        self.parts.store.put(plan.key, plan.instance)
        return self.begin(
            "insert",
            plan.key,
            call,
            work=lambda: self._lifecycle.provision(plan.key),
            undo=lambda: self._lifecycle.discard(plan.key),
        )

    def _check_act_as(self, caller: Caller, plan: InstancePlan) -> None:
        access: Access = self.parts.access
        for account in plan.instance.get("serviceAccounts", ()):
            owner = f"projects/{self.parts.settings.project}/serviceAccounts/{account['email']}"
            if not access.allows(caller, "iam.serviceAccounts.actAs", owner, owners=[owner]):
                raise api_errors.forbidden(
                    f"The user does not have access to service account '{account['email']}'.  User: '{caller.email}'.  "
                    "Ask a project owner to grant you the iam.serviceAccountUser role on the service account"
                )

    def delete(self, call: Call) -> Document:
        key, instance = self.find(call)
        if instance["deletionProtection"]:
            raise api_errors.condition_not_met(
                f"Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion. Resource: '{key}''."
            )
        return self.begin("delete", key, call, work=lambda: self._lifecycle.delete(key))

    def power(self, call: Call) -> Document:
        key, instance = self.find(call)
        verb = call.path.rsplit("/", 1)[1]
        if (verb == "reset" and instance["status"] != "RUNNING") or (
            verb == "start" and instance["status"] == "STOPPING"
        ):
            raise api_errors.not_ready(key)
        work: Work = {
            "stop": lambda: self._lifecycle.stop(key),
            "start": lambda: self._lifecycle.start(key),
            "reset": lambda: self._lifecycle.reset(key),
        }[verb]
        return self.begin(verb, key, call, work=work)

    def simulate(self, call: Call) -> Document:
        """Simulate a maintenance event: a Spot VM is preempted; any other would be migrated, which its guest hardly notices."""
        key, instance = self.find(call)
        if instance["status"] != "RUNNING":
            raise api_errors.not_ready(key)
        if instance["scheduling"]["preemptible"]:
            return self._lifecycle.begin_preemption(key)
        return self.begin("compute.instances.simulateMaintenanceEvent", key, call)

    # ------------------------------------------------------------------ changes

    def set_metadata(self, call: Call) -> Document:
        key, instance = self.find(call)
        if call.body.get("fingerprint") != instance["metadata"]["fingerprint"]:
            raise api_errors.stale_metadata()
        items = call.body.get("items") or []
        check_metadata(items, field="items")
        self._change(key, metadata={"kind": "compute#metadata", "fingerprint": fresh_fingerprint(), "items": items})
        return self.begin("setMetadata", key, call)

    def set_tags(self, call: Call) -> Document:
        key, instance = self.find(call)
        if call.body.get("fingerprint") != instance["tags"]["fingerprint"]:
            raise api_errors.condition_not_met("Supplied fingerprint does not match current tags fingerprint.")
        for index, tag in enumerate(call.body.get("items") or ()):
            check_name(tag, field=f"items[{index}]")
        self._change(key, tags={"fingerprint": fresh_fingerprint(), "items": call.body.get("items") or []})
        return self.begin("setTags", key, call)

    def set_scheduling(self, call: Call) -> Document:
        key, instance = self.find(call)
        new = make_scheduling({**instance["scheduling"], **call.body})
        if new["preemptible"] != instance["scheduling"]["preemptible"]:
            raise api_errors.invalid_field(
                "scheduling.preemptible", new["preemptible"], "Cannot be changed after the instance was made."
            )
        if instance["status"] != "TERMINATED" and new.get("maxRunDuration") != instance["scheduling"].get(
            "maxRunDuration"
        ):
            raise api_errors.invalid_field(
                "scheduling.maxRunDuration", new.get("maxRunDuration"), "The instance must be stopped to change it."
            )
        self._change(key, scheduling=new)
        return self.begin("setScheduling", key, call)

    def set_machine_type(self, call: Call) -> Document:
        key = self._find_stopped(call)
        machine_type = self.parts.references.machine_type(call.body.get("machineType"), call.params["zone"])
        self._change(key, machineType=link(machine_type))
        return self.begin("setMachineType", key, call)

    def set_account(self, call: Call) -> Document:
        key = self._find_stopped(call)
        email = self.parts.references.service_account(call.body.get("email") or "default")
        self._change(key, serviceAccounts=[{"email": email, "scopes": call.body.get("scopes") or []}])
        return self.begin("setServiceAccount", key, call)

    def set_disk_auto_delete(self, call: Call) -> Document:
        key, instance = self.find(call)
        wanted = [disk for disk in instance["disks"] if disk["deviceName"] == call.query.get("deviceName")]
        if not wanted:
            raise api_errors.invalid_field("deviceName", call.query.get("deviceName"), "No such disk is attached.")
        wanted[0]["autoDelete"] = call.query.get("autoDelete") == "true"
        self._change(key, disks=instance["disks"])
        return self.begin("setDiskAutoDelete", key, call)

    def set_protection(self, call: Call) -> Document:
        key, _ = self.find(call)
        self._change(key, deletionProtection=call.query.get("deletionProtection", "true") == "true")
        return self.begin("setDeletionProtection", key, call)

    def _find_stopped(self, call: Call) -> str:
        key, instance = self.find(call)
        if instance["status"] != "TERMINATED":
            raise api_errors.invalid("The instance must be in the TERMINATED state for this change.")
        return key

    def _change(self, key: str, **fields: object) -> None:
        with self.parts.store.edit(key) as instance:
            instance.update(fields, fingerprint=fresh_fingerprint())

    # ------------------------------------------------------------------ output of the guest

    def read_serial_port(self, call: Call) -> Document:
        _, instance = self.find(call)
        port = call.query.get("port", "1")
        if port not in ("1", "2", "3", "4"):
            raise api_errors.invalid_field("port", port, "Must be in the range [1, 4].")
        start = read_int(call.query.get("start", "0"), field="start")
        state: Path = self.parts.settings.state
        contents, start, after = read_serial(state, instance["id"], start) if port == "1" else ("", 0, 0)
        return {
            "kind": "compute#serialPortOutput",
            "selfLink": link(f"{call.resource}/serialPort"),
            "contents": contents,
            "start": str(start),
            "next": str(after),
        }

    def read_guest_attributes(self, call: Call) -> Document:
        key, instance = self.find(call)
        path = call.query.get("queryPath") or call.query.get("variableKey") or ""
        if not self._has_guest_attributes(instance):
            raise api_errors.missing(f"The resource '{path}' of type 'Guest Attribute' was not found.")
        found = self._query(key, path)
        if not found:
            raise api_errors.missing(f"The resource '{path}' of type 'Guest Attribute' was not found.")
        answer: Document = {"kind": "compute#guestAttributes", "selfLink": link(f"{key}/getGuestAttributes")}
        if call.query.get("variableKey"):
            return {**answer, "variableKey": path, "variableValue": found[0]["value"]}
        return {**answer, "queryPath": path, "queryValue": {"items": found}}

    def _has_guest_attributes(self, instance: Document) -> bool:
        items = [*(common_metadata(self.parts).get("items") or ()), *instance["metadata"]["items"]]
        values = {item["key"]: str(item.get("value", "")) for item in items}
        return values.get("enable-guest-attributes", "").upper() in ("TRUE", "1", "Y", "YES")

    def _query(self, key: str, path: str) -> list[Document]:
        namespace, _, name = path.partition("/")
        guest = (self.parts.store.get(PRIVATE + key) or {}).get("guest", {})
        return [
            {"namespace": space, "key": attribute, "value": value}
            for space, attributes in sorted(guest.items())
            for attribute, value in sorted(attributes.items())
            if namespace in ("", space) and name in ("", attribute)
        ]


_ACCOUNT_FIELDS = {"email": str, "scopes": [str]}
