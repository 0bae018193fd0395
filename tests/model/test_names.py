"""Names obey Google's rules, whatever they are made from."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from runner.model import names

AT = datetime(2026, 11, 22, 15, 30, 5, tzinfo=UTC)


@given(st.text(max_size=100))
def test_any_text_becomes_a_label_value(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9_-]{0,63}", names.label_value(text))


@given(st.from_regex(names.BATCH_NAME, fullmatch=True), st.integers(0, 999))
def test_instances_of_any_batch_have_resource_names(batch: str, index: int) -> None:
    assert names.RESOURCE_NAME.fullmatch(names.instance_name(batch, index))


def test_labels() -> None:
    assert names.labels(owner="You.There", expires=AT, batch="b1") == {
        "app": "opensees-hpc",
        "owner": "you-there",
        "expires": "20261122-1530",
        "batch": "b1",
    }
    assert names.label_filter({"batch": "b1", "app": "opensees-hpc"}) == "labels.app=opensees-hpc AND labels.batch=b1"


def test_an_image_name_contains_its_family() -> None:
    assert names.image_name(AT) == "opensees-hpc-20261122-153005"
    assert names.IMAGE_FAMILY in names.image_name(AT)


def test_result_prefix() -> None:
    assert names.result_prefix("b1", "ida-0.5", 1) == "b1/ida-0.5/attempt-1/"
