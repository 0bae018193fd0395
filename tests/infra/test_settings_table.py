"""``docs/stacks.md`` has the settings as they are."""

from __future__ import annotations

from infra.settings_table import MODELS, PAGE, fill_tables


def test_the_tables_are_fresh() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert fill_tables(page) == page, "run python -m infra.settings_table"


def test_every_setting_is_explained() -> None:
    for model in MODELS.values():
        for key, field in model.model_fields.items():
            assert key == "location" or field.description, key


def test_every_stack_has_its_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, model in MODELS.items():
        assert f"<!-- settings: {name} -->" in page
        assert all(f"| `{key}` |" in page for key in model.model_fields if key != "location")
