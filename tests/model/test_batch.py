"""What a jobs file means, and how bad ones are reported: file, line, column, remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import InputError
from runner.model.batch import parse_batch

FILE = Path("jobs/batch.yaml")
GOOD = """\
batch: batch1
defaults: {np: 2, timeout_min: 30}
jobs:
  - name: portal-frame
    dir: models/portal
  - name: ida-{record}-{scale}
    dir: models/sdof
    main: main.py
    np: 1
    matrix: {record: [elcentro, kobe], scale: [0.5, 1.0]}
    args: ["{record}", "{scale}", 3, true]
    include: ["records/*.txt"]
machines: {provisioning: standard, max_vms: 4}
budget_usd: 5.00
"""


def test_a_good_file() -> None:
    batch = parse_batch(GOOD, FILE)
    assert batch.name == "batch1"
    assert [job.name for job in batch.jobs] == [
        "portal-frame",
        "ida-elcentro-0.5",
        "ida-elcentro-1.0",
        "ida-kobe-0.5",
        "ida-kobe-1.0",
    ]
    portal, first, *_ = batch.jobs
    assert (portal.np, portal.timeout_s, portal.main, portal.args) == (2, 1800.0, "main.tcl", ())
    assert portal.folder == Path("jobs/models/portal")
    assert (first.np, first.args, first.include) == (1, ("elcentro", "0.5", "3", "true"), ("records/*.txt",))
    assert batch.machines.provisioning == "standard"


def _args(text: str) -> list[tuple[str, ...]]:
    """The arguments of the jobs of a file with one entry."""
    return [job.args for job in parse_batch(f"batch: b\njobs:\n  - {{dir: d, {text}}}\n", FILE).jobs]


def test_arguments_reach_the_script_as_they_are_written() -> None:
    written = "on, NO, 1:30, 010, 1_000, 0x1F, 1.10, 1e-3, +5, true, True, .5, 2026-11-22, '007', a b"
    assert _args(f"name: a, args: [{written}]") == [
        (
            "on",
            "NO",
            "1:30",
            "010",
            "1_000",
            "0x1F",
            "1.10",
            "1e-3",
            "+5",
            "true",
            "True",
            ".5",
            "2026-11-22",
            "007",
            "a b",
        )
    ]


def test_values_of_a_matrix_stay_as_they_are_written() -> None:
    found = _args('name: "a-{r}", matrix: {r: [001, 007, 008, 010, 1.10]}, args: ["{r}"]')
    assert found == [("001",), ("007",), ("008",), ("010",), ("1.10",)]


def test_values_brought_in_by_a_merge_stay_as_they_are_written() -> None:
    text = (
        "batch: b\njobs:\n"
        "  - &first {name: a, dir: d, args: [010]}\n"
        "  - {<<: *first, name: b}\n"
        "  - {<<: *first, name: c, args: [1.10]}\n"
    )
    jobs = parse_batch(text, FILE).jobs
    assert [(job.name, job.args) for job in jobs] == [("a", ("010",)), ("b", ("010",)), ("c", ("1.10",))]


def test_times_are_numbers() -> None:
    text = "batch: b\njobs:\n  - {name: a, dir: d, timeout_min: 30}\n  - {name: c, dir: d, timeout_min: 1.5e1}\n"
    assert [job.timeout_s for job in parse_batch(text, FILE).jobs] == [1800.0, 900.0]


BAD = {
    "syntax error": ("batch: [a\n", 2, "not valid YAML"),
    "not a mapping": ("- a\n", 1, "is a mapping"),
    "empty": ("", 1, "is a mapping"),
    "unknown key": ("batch: b\njobs:\n  - {name: a, dir: d, mian: x}\n", 3, "did you mean 'main'?"),
    "unknown key at the top": ("batch: b\nmachine: {}\njobs:\n  - {name: a, dir: d}\n", 2, "did you mean 'machines'?"),
    "missing key": ("batch: b\njobs:\n  - {name: a}\n", 3, "'dir' is missing"),
    "no jobs": ("batch: b\njobs: []\n", 2, "jobs must be not empty"),
    "wrong type": ("batch: b\njobs:\n  - name: a\n    dir: d\n    np: two\n", 5, "np must be integer, not 'two'"),
    "np of 0": ("batch: b\njobs:\n  - name: a\n    dir: d\n    np: 0\n", 5, "np must be at least 1"),
    "np that is true": ("batch: b\njobs:\n  - name: a\n    dir: d\n    np: yes\n", 5, "np must be"),
    "np too large": (
        "batch: b\njobs:\n  - name: a\n    dir: d\n    np: 89\n",
        5,
        "more cores than any machine type has",
    ),
    "np too large for the type": (
        "batch: b\njobs:\n  - name: a\n    dir: d\n    np: 3\nmachines: {type: c2-standard-4}\n",
        5,
        "more cores than c2-standard-4 has",
    ),
    "np too large in defaults": ("batch: b\ndefaults: {np: 500}\njobs:\n  - {name: a, dir: d}\n", 2, "more cores"),
    "duplicate name": ("batch: b\njobs:\n  - {name: a, dir: d}\n  - {name: A, dir: d}\n", 4, "two jobs are named"),
    "matrix without its key in the name": (
        "batch: b\njobs:\n  - {name: a, dir: d, matrix: {x: [1, 2]}}\n",
        3,
        "put each {key} of the matrix into name",
    ),
    "placeholder for nothing": ("batch: b\njobs:\n  - {name: 'a-{x}', dir: d}\n", 3, "is not a job name"),
    "placeholder in args": ("batch: b\njobs:\n  - {name: a, dir: d, args: ['{x}']}\n", 3, "is not defined"),
    "batch name": ("batch: Batch_1\njobs:\n  - {name: a, dir: d}\n", 1, "is not a batch name"),
    "main outside": ("batch: b\njobs:\n  - {name: a, dir: d, main: ../x.tcl}\n", 3, "is not inside the job's folder"),
    "main absolute": ("batch: b\njobs:\n  - {name: a, dir: d, main: /x.tcl}\n", 3, "is not inside the job's folder"),
    "include outside": ("batch: b\njobs:\n  - {name: a, dir: d, include: ['../*']}\n", 3, "is not inside"),
    "main of another kind": ("batch: b\njobs:\n  - {name: a, dir: d, main: x.sh}\n", 3, ".tcl or .py"),
    "machine type": ("batch: b\njobs:\n  - {name: a, dir: d}\nmachines: {type: c2-standard-5}\n", 4, "c2-standard-"),
    "provisioning": (
        "batch: b\njobs:\n  - {name: a, dir: d}\nmachines: {provisioning: sport}\n",
        4,
        "'spot' or 'standard'",
    ),
    "time-out of 0": ("batch: b\njobs:\n  - {name: a, dir: d, timeout_min: 0}\n", 3, "more than 0"),
    "key twice": ("batch: b\nbatch: c\njobs:\n  - {name: a, dir: d}\n", 2, "a second time"),
    "tab": ("batch: b\n\tjobs: 1\n", 2, "not valid YAML"),
    "time-out that is a word": ("batch: b\ndefaults:\n  timeout_min: yes\njobs: []\n", 3, "must be number, not 'yes'"),
    "time-out that is true": ("batch: b\ndefaults:\n  timeout_min: true\njobs: []\n", 3, "must be number, not True"),
    "time-out in quotes": ("batch: b\ndefaults:\n  timeout_min: '30'\njobs: []\n", 3, "must be number, not '30'"),
    "np with a leading zero": ("batch: b\njobs:\n  - name: a\n    dir: d\n    np: 010\n", 5, "np must be"),
    "budget without a limit": ("batch: b\njobs:\n  - {name: a, dir: d}\nbudget_usd: .inf\n", 4, "finite"),
    "no argument": ("batch: b\njobs:\n  - name: a\n    dir: d\n    args: [~]\n", 5, "must be"),
    "include without a file": ("batch: b\njobs:\n  - {name: a, dir: d, include: ['.']}\n", 3, "names no file"),
    "include that is empty": (
        "batch: b\ndefaults:\n  include: ['']\njobs:\n  - {name: a, dir: d}\n",
        3,
        "is not inside",
    ),
    "include of ** in a name": (
        "batch: b\njobs:\n  - {name: a, dir: d, include: ['**.txt']}\n",
        3,
        "put a / around it, as in **/*.txt",
    ),
    "include outside in defaults": (
        "batch: b\ndefaults:\n  include: ['/etc/*']\njobs:\n  - {name: a, dir: d}\n",
        3,
        "is not inside the job's folder",
    ),
    "a list in itself": ("batch: b\njobs:\n  - name: a\n    dir: d\n    args: &a [*a]\n", 5, "a value contains itself"),
    "control character": ("batch: b\njobs:\n  - name: a\x00\n", 3, "is not allowed"),
    "deep nesting": ("batch: " + 5000 * "[", 1, "nested too deeply"),
    "python object": ("batch: !!python/object/apply:os.system ['true']\njobs: []\n", 1, "not valid YAML"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_reported_with_place_and_reason(case: str) -> None:
    text, line, words = BAD[case]
    with pytest.raises(InputError) as caught:
        parse_batch(text, FILE)
    assert words in str(caught.value)
    first = caught.value.problems[0]
    assert (first.file, first.line) == (FILE, line)
    assert first.column >= 1
    assert first.remedy
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["a/b", "a..b", "a;b", "a$b", "a b", "-a", ".a", "a.", "", "a\nb", "é", "a" * 64])
def test_job_names_that_are_none(name: str) -> None:
    text = f"batch: b\njobs:\n  - {{name: {name!r}, dir: d}}\n".replace("\\n", "n\\\\")
    with pytest.raises(InputError):
        parse_batch(text if name != "" else 'batch: b\njobs:\n  - {name: "", dir: d}\n', FILE)


def test_all_mistakes_are_reported_at_once() -> None:
    text = "batch: B\njobs:\n  - {name: a b, dir: d}\n  - {name: c, dir: d, main: x.sh}\n"
    with pytest.raises(InputError) as caught:
        parse_batch(text, FILE)
    assert [problem.line for problem in caught.value.problems] == [1, 3, 4]


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    try:
        parse_batch(text, FILE)
    except InputError as error:
        assert error.problems  # anything but InputError would fail this test by itself
