"""The provider's own settings (``gcp:*``): checked, then stored for the connection of the engine that sent them."""

from __future__ import annotations

import difflib
import json
import threading
from collections import OrderedDict
from typing import Any

from runner.emulator.provider.resource import ATTRIBUTION_LABELS, Settings
from runner.emulator.provider.values import UNKNOWN, Properties

_KNOWN = (
    "accessToken",
    "addPulumiAttributionLabel",
    "batching",
    "billingProject",
    "credentials",
    "defaultLabels",
    "disableGooglePartnerName",
    "externalCredentials",
    "googlePartnerName",
    "impersonateServiceAccount",
    "impersonateServiceAccountDelegates",
    "pollInterval",
    "project",
    "pulumiAttributionLabelAdditionStrategy",
    "region",
    "requestReason",
    "requestTimeout",
    "scopes",
    "skipRegionValidation",
    "universeDomain",
    "userProjectOverride",
    "zone",
)
_OURS_TO_IGNORE = ("version", "pluginDownloadURL")
_CONNECTIONS_KEPT = 256


def find_config_problems(given: Properties) -> list[tuple[str, str]]:
    """Return a failure for each key that the stock plugin does not know."""
    problems = []
    for key in sorted(given):
        if key in _KNOWN or key in _OURS_TO_IGNORE or key.startswith("__") or key.endswith("CustomEndpoint"):
            continue
        close = difflib.get_close_matches(key, _KNOWN, n=1)
        hint = f" Did you mean 'gcp:{close[0]}'?" if close else ""
        problems.append((key, f"Invalid or unknown key. Check `pulumi config get gcp:{key}`.{hint}"))
    return problems


def _structured(value: Any, fallback: Any) -> Any:
    """Decode a map or boolean, which comes as JSON in a string."""
    if not isinstance(value, str):
        return fallback if value is None else value
    try:
        return json.loads(value)
    except ValueError:
        return fallback


def read_settings(given: Properties, defaults: Settings) -> Settings:
    """Return the settings in ``given``; missing and unknown ones have the embedded cloud's own values."""
    known = {key: value for key, value in given.items() if value is not UNKNOWN}
    labels = {str(key): str(value) for key, value in _structured(known.get("defaultLabels"), {}).items()}
    attribution = ATTRIBUTION_LABELS if _structured(known.get("addPulumiAttributionLabel"), True) else {}
    return Settings(
        project=known.get("project") or defaults.project,
        region=known.get("region") or defaults.region,
        zone=known.get("zone") or defaults.zone,
        default_labels={**labels, **attribution},
    )


class Connections:
    """The settings of each connected engine: several may be running, each with its own."""

    def __init__(self, defaults: Settings) -> None:
        self.defaults = defaults
        self._guard = threading.Lock()
        self._by_peer: OrderedDict[str, tuple[Settings, threading.Event]] = OrderedDict()

    def configure(self, peer: str, given: Properties) -> None:
        """Store this engine's settings."""
        with self._guard:
            self._by_peer[peer] = (read_settings(given, self.defaults), threading.Event())
            while len(self._by_peer) > _CONNECTIONS_KEPT:
                self._by_peer.popitem(last=False)

    def find(self, peer: str) -> tuple[Settings, threading.Event]:
        """Return its settings and its cancellation event; those of the last engine if it has reconnected."""
        with self._guard:
            if peer in self._by_peer:
                return self._by_peer[peer]
            if self._by_peer:
                return next(reversed(self._by_peer.values()))
        return self.defaults, threading.Event()
