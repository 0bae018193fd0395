"""The APIs that are enabled in the project."""

from __future__ import annotations

from runner.emulator.http import Call, Rule
from runner.emulator.state import CloudSettings, Document, Store
from runner.emulator.wire import api_errors, sized_page

SERVICES = "services/"
_PAGE, _LARGEST_PAGE, _MOST_AT_ONCE = 50, 200, 30
_STATES = {"": "", "state:ENABLED": "ENABLED", "state:DISABLED": "DISABLED"}
_SERVICES = "/serviceusage/v1/projects/{project}/services"


def put_enabled_services(store: Store, settings: CloudSettings) -> None:
    """Enable the APIs of a new project."""
    for service in settings.enabled_services:
        if store.get(SERVICES + service) is None:
            store.put(SERVICES + service, {"state": "ENABLED"})


def is_disabled(store: Store, service: str) -> bool:
    """Return whether an API was disabled; one whose state was never changed responds."""
    return (store.get(SERVICES + service) or {}).get("state") == "DISABLED"


class ServiceUsage:
    """``projects/p/services``."""

    def __init__(self, store: Store, settings: CloudSettings) -> None:
        self._store = store
        self._settings = settings

    def rules(self) -> list[Rule]:
        one, changes = _SERVICES + "/{service}", "serviceusage.services.enable"
        return [
            Rule(method="GET", path=_SERVICES, act=self.list_all, permission="serviceusage.services.list"),
            Rule(method="GET", path=_SERVICES + ":batchGet", act=self.get_some, permission="serviceusage.services.get"),
            Rule(method="POST", path=_SERVICES + ":batchEnable", act=self.enable_all, permission=changes),
            Rule(method="POST", path=one + ":enable", act=self.enable, permission=changes),
            Rule(method="POST", path=one + ":disable", act=self.disable, permission="serviceusage.services.disable"),
            Rule(method="GET", path=one, act=self.get, permission="serviceusage.services.get"),
            Rule(method="GET", path="/serviceusage/v1/operations/{name}", act=self.get_operation),
        ]

    def list_all(self, call: Call) -> Document:
        """List APIs by ``filter``: ``state:ENABLED`` or ``state:DISABLED``; without it, all whose state was ever changed."""
        state = _STATES.get(call.query.get("filter", ""))
        if state is None:
            raise api_errors.invalid(
                f"Invalid filter: {call.query['filter']}. Supported: state:ENABLED, state:DISABLED."
            )
        found = [entry for entry in self._store.items(SERVICES) if entry[1]["state"].startswith(state)]
        chosen = [(key, self._document(key.removeprefix(SERVICES))) for key, _ in found]
        page, more = sized_page(chosen, call.query, default=_PAGE, most=_LARGEST_PAGE)
        return {"services": page, **more}

    def get_some(self, call: Call) -> Document:
        """Get several APIs: ``names``, repeated, as ``projects/p/services/x``."""
        names = call.repeated.get("names", ())
        if not names or len(names) > _MOST_AT_ONCE:
            raise api_errors.invalid(f"Between 1 and {_MOST_AT_ONCE} names must be given.")
        own = (f"projects/{self._settings.project}", f"projects/{self._settings.project_number}")
        if odd := [name for name in names if name.rpartition("/services/")[0] not in own]:
            raise api_errors.invalid(f"Invalid service name: {odd[0]}")
        return {"services": [self._document(name.rpartition("/")[2]) for name in names]}

    def get(self, call: Call) -> Document:
        return self._document(call.params["service"])

    def enable(self, call: Call) -> Document:
        return self._set([call.params["service"]], "ENABLED")

    def enable_all(self, call: Call) -> Document:
        return self._set([str(service) for service in call.body.get("serviceIds") or ()], "ENABLED")

    def disable(self, call: Call) -> Document:
        return self._set([call.params["service"]], "DISABLED")

    def get_operation(self, call: Call) -> Document:
        return {"name": f"operations/{call.params['name']}", "done": True, "response": {}}

    def _set(self, services: list[str], state: str) -> Document:
        for service in services:
            self._store.put(SERVICES + service, {"state": state})
        kind = "EnableServiceResponse" if state == "ENABLED" else "DisableServiceResponse"
        return {
            "name": f"operations/acat.p2-{self._settings.project_number}-{self._store.next_id()}",
            "done": True,
            "response": {"@type": f"type.googleapis.com/google.api.serviceusage.v1.{kind}"},
        }

    def _document(self, service: str) -> Document:
        project = f"projects/{self._settings.project_number}"
        state = (self._store.get(SERVICES + service) or {}).get("state", "DISABLED")
        return {
            "name": f"{project}/services/{service}",
            "parent": project,
            "config": {"name": service},
            "state": state,
        }
