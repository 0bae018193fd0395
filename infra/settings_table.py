"""The tables of settings in ``docs/stacks.md``, generated from the models: ``python -m infra.settings_table`` rewrites them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from infra.analysis.settings import AnalysisSettings
from infra.base.settings import BaseSettings
from infra.image.settings import ImageSettings
from infra.settings import StackSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "stacks.md"
MODELS: dict[str, type[StackSettings]] = {"base": BaseSettings, "image": ImageSettings, "analysis": AnalysisSettings}


def fill_tables(page: str) -> str:
    """Return the page with each part between ``<!-- settings: NAME -->`` and ``<!-- end -->`` rewritten."""
    for name, model in MODELS.items():
        begin, end = f"<!-- settings: {name} -->\n", "<!-- end -->"
        before, _, rest = page.partition(begin)
        after = rest.partition(end)[2]
        page = f"{before}{begin}\n{_table(model)}\n{end}{after}"
    return page


def _table(model: type[StackSettings]) -> str:
    rows = [_row(key, field) for key, field in model.model_fields.items() if key != "location"]
    return "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows, ""])


def _row(key: str, field: FieldInfo) -> str:
    meaning = " ".join((field.description or "").replace("``", "`").replace("|", "\\|").split())
    return f"| `{key}` | {_default(field)} | {meaning} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be set"
    value: Any = field.get_default(call_default_factory=True)
    return f"`{value if isinstance(value, str) else json.dumps(value)}`" if value not in ("", (), {}, None) else "none"


if __name__ == "__main__":
    PAGE.write_text(fill_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
