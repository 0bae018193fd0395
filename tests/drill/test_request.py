"""The arguments of a drill are checked before it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.drill.chaos import ChaosTrial
from runner.drill.program import REAL
from runner.drill.request import read_trials
from runner.errors import InputError
from runner.options.project import Drill
from tests.e2e.site import Site


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"random": "abc"}, "--random 'abc': not a whole number from 1"),
        ({"random": "9" * 5000}, "not a whole number"),
        ({"random": "0"}, "--random '0'"),
        ({"random": "-1"}, "--random '-1'"),
        ({"random": "1" * 12}, "not a whole number from 1 to 100000"),
        ({"seed": "abc"}, "--seed 'abc': not a whole number from 0"),
        ({"seed": "9" * 5000}, "--seed"),
        ({"seed": "\u0663"}, "--seed"),
        ({"only": f"random/{'9' * 5000}-1"}, "--only"),
        ({"only": "gone/drop", "random": "3"}, "exclude each other"),
        ({"on": "mars"}, "--on mars"),
        ({"on": "google", "random": "3"}, "one trial"),
    ],
)
def test_arguments_that_make_no_sense(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_trials(Drill(**given))
    assert words in caught.value.message
    assert len(caught.value.message) < 500


def test_arguments_that_make_sense() -> None:
    assert read_trials(Drill(random="2", seed="7")) == [ChaosTrial.draw(7, 1), ChaosTrial.draw(7, 2)]
    assert read_trials(Drill(on="google")) == [REAL]


@pytest.mark.parametrize("words", ["--random 0", "--random abc", "--seed abc"])
def test_json_has_an_event_of_it(tmp_path: Path, words: str) -> None:
    done = Site(home=tmp_path).invoke("drill", *words.split(), "--json")
    assert done.returncode == 2, done.stderr
    event = json.loads(done.stdout)
    assert (event["event"], event["exit_code"]) == ("error", 2)
