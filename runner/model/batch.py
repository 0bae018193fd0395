"""What a jobs file means: text to a ``Batch``, or a list of everything that is wrong with it. No disk is touched.

Jobs of a ``matrix`` are expanded here; the preflight checks whether folders and files exist.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runner.errors import InputError, InputProblem
from runner.model import catalog, names
from runner.model.yaml_source import Location, YamlSource, read_yaml

DEFAULT_TIMEOUT_MIN = 60.0
LONGEST_TIMEOUT_MIN = catalog.LONGEST_RUN_S / 60
RELATIVE = "paths are relative to dir, with /"
PLACEHOLDER = re.compile(r"\{(\w+)\}")

Np = Annotated[int, Field(ge=1, strict=True, description="MPI ranks, one physical core each")]
TimeoutMin = Annotated[
    float,
    Field(gt=0, le=LONGEST_TIMEOUT_MIN, strict=True, description="the job is ended after this many minutes"),
]
Include = Annotated[list[str], Field(description="more files to upload: globs relative to dir, ** allowed")]
Scalar = bool | int | float | str


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Defaults(_Strict):
    """Values for jobs that do not give their own."""

    np: Np = 1
    timeout_min: TimeoutMin = DEFAULT_TIMEOUT_MIN
    include: Include = []


class Expectation(_Strict):
    """What a finished analysis must have reached."""

    end_time_s: (
        Annotated[float, Field(gt=0, strict=True, description="the pseudo-time of the last converged step, in s")]
        | None
    ) = None


class JobEntry(_Strict):
    """One job, or with ``matrix`` one for each combination of its values."""

    name: Annotated[str, Field(description="letters, digits, _ - and single dots; {key} stands for a value of matrix")]
    dir: Annotated[str, Field(description="the model's folder, relative to this file")]
    main: Annotated[str, Field(description="the script that is run: .tcl or .py, relative to dir")] = "main.tcl"
    np: Np | None = None
    timeout_min: TimeoutMin | None = None
    args: Annotated[list[Scalar], Field(description="arguments of the script; {key} stands for a value of matrix")] = []
    include: Include | None = None
    matrix: Annotated[dict[str, Annotated[list[Scalar], Field(min_length=1)]], Field(min_length=1)] | None = None
    expect: Expectation = Expectation()


class Machines(_Strict):
    """The VMs of a batch."""

    provisioning: Annotated[Literal["spot", "standard"], Field(description="Google's provisioning model")] = "spot"
    fallback: Annotated[
        Literal["none", "standard"],
        Field(description="standard: on-demand VMs for jobs that were preempted twice, and for the last jobs"),
    ] = "none"
    max_vms: Annotated[int, Field(ge=1, le=1000, strict=True, description="at most this many VMs at once")] = 1
    type: Annotated[str | None, Field(description="a machine type, such as c2-standard-16")] = None


class JobsFile(_Strict):
    """A batch of OpenSees analyses."""

    batch: Annotated[str, Field(description="name: at most 40 of a-z 0-9 -, beginning with a letter")]
    defaults: Defaults = Defaults()
    jobs: Annotated[list[JobEntry], Field(min_length=1)]
    machines: Machines = Machines()
    budget_usd: (
        Annotated[float, Field(gt=0, strict=True, description="a batch that may cost more is refused")] | None
    ) = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """One analysis: run ``main`` in a copy of ``folder`` with ``np`` ranks. ``entry``: its index in the file's ``jobs``."""

    name: str
    folder: Path
    main: str
    np: int
    timeout_s: float
    args: tuple[str, ...]
    include: tuple[str, ...]
    expect: Expectation
    entry: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A valid jobs file. ``source`` knows the line and column of each value."""

    name: str
    jobs: tuple[Job, ...]
    machines: Machines
    budget_usd: float | None
    source: YamlSource


def parse_batch(text: str, file: Path) -> Batch:
    """Read a jobs file's ``text``; ``file`` says where it came from (folders are relative to it).

    Raises:
        InputError: everything that is wrong, each with file, line, column and remedy.
    """
    source = read_yaml(text, file)
    if not isinstance(source.values, Mapping):
        message = "a jobs file is a mapping with the keys batch and jobs"
        raise InputError([source.problem((), message, "begin with `batch: NAME`, then `jobs:`; see docs/jobs.md")])
    try:
        parsed = JobsFile.model_validate(_with_texts(source))
    except ValidationError as error:
        raise InputError(sorted(_problems(error, source), key=lambda p: (p.line, p.column))) from error
    jobs = tuple(_expand(parsed, file))
    problems = [*_name_problems(parsed, jobs, source), *_job_problems(parsed, jobs, source)]
    if problems:
        raise InputError(sorted(problems, key=lambda p: (p.line, p.column)))
    return Batch(name=parsed.batch, jobs=jobs, machines=parsed.machines, budget_usd=parsed.budget_usd, source=source)


def _with_texts(source: YamlSource) -> dict[str, Any]:
    """Return the file's values, those of ``args`` and ``matrix`` as they are written: a script gets 1.10 and 010 unchanged."""
    values = dict(source.values)
    if isinstance(values.get("jobs"), list):
        values["jobs"] = [_entry_with_texts(entry, ("jobs", i), source) for i, entry in enumerate(values["jobs"])]
    return values


def _entry_with_texts(entry: Any, at: Location, source: YamlSource) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    entry = dict(entry)
    if isinstance(entry.get("args"), list):
        entry["args"] = _texts(entry["args"], (*at, "args"), source)
    matrix = entry.get("matrix")
    if isinstance(matrix, Mapping):
        entry["matrix"] = {
            key: _texts(values, (*at, "matrix", str(key)), source) if isinstance(values, list) else values
            for key, values in matrix.items()
        }
    return entry


def _texts(values: list[Any], at: Location, source: YamlSource) -> list[Any]:
    return [source.texts.get((*at, index), value) for index, value in enumerate(values)]


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a jobs file, for editors."""
    return JobsFile.model_json_schema()


def _problems(error: ValidationError, source: YamlSource) -> Iterator[InputProblem]:
    """Yield Pydantic's errors in our words, each with its line and column; one for all branches of a union (int, float, str)."""
    seen: set[tuple[int, int]] = set()
    for item in error.errors(include_url=False):
        location = tuple(part for part in item["loc"] if _in_file(source, part, item["loc"]))
        position = source.position(location)
        if position in seen and item["type"] not in ("extra_forbidden", "missing"):
            continue
        seen.add(position)
        yield source.problem(location, *_words(item, source))


def _in_file(source: YamlSource, part: int | str, whole: tuple[int | str, ...]) -> bool:
    """Return whether ``part`` is a key or index of the file: pydantic adds the names of union branches at the end."""
    return whole[: whole.index(part) + 1] in source.marks


def _words(item: Mapping[str, Any], source: YamlSource) -> tuple[str, str]:
    key = str(item["loc"][-1]) if item["loc"] else ""
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(item["loc"][:-1])
        near = difflib.get_close_matches(key, known, n=1)
        return f"unknown key {key!r}", f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    if kind == "missing":
        return f"the key {key!r} is missing", f"add {key}: …"
    value = item.get("input")
    shown = "" if isinstance(value, (dict, list)) else f", not {value!r}"
    limits = {
        "greater_than_equal": f"at least {context.get('ge')}",
        "greater_than": f"more than {context.get('gt')}",
        "less_than_equal": f"at most {context.get('le')}",
        "literal_error": str(context.get("expected", "")),
        "too_short": "not empty",
    }
    wanted = limits.get(kind) or item["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    named = next((str(part) for part in reversed(item["loc"]) if isinstance(part, str) and part in _ALL_KEYS), key)
    return f"{named} must be {wanted}{shown}", f"correct the value of {named}"


_MODELS: dict[tuple[str, ...], type[BaseModel]] = {
    (): JobsFile,
    ("defaults",): Defaults,
    ("machines",): Machines,
    ("jobs",): JobEntry,
    ("jobs", "expect"): Expectation,
}
_ALL_KEYS = {key for model in _MODELS.values() for key in model.model_fields}


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model = _MODELS.get(tuple(part for part in location if isinstance(part, str)), JobsFile)
    return list(model.model_fields)


def _expand(parsed: JobsFile, file: Path) -> Iterator[Job]:
    """Yield one job for each entry, or for each combination of its matrix."""
    for index, entry in enumerate(parsed.jobs):
        matrix = entry.matrix or {}
        for values in itertools.product(*matrix.values()):
            chosen = {key: str(value) for key, value in zip(matrix, values, strict=True)}
            yield Job(
                name=_fill(entry.name, chosen),
                folder=file.parent / entry.dir,
                main=entry.main,
                np=entry.np if entry.np is not None else parsed.defaults.np,
                timeout_s=60 * (entry.timeout_min if entry.timeout_min is not None else parsed.defaults.timeout_min),
                args=tuple(_fill(str(arg), chosen) for arg in entry.args),
                include=tuple(entry.include if entry.include is not None else parsed.defaults.include),
                expect=entry.expect,
                entry=index,
            )


def _fill(template: str, values: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: values.get(match.group(1), match.group(0)), template)


def _name_problems(parsed: JobsFile, jobs: tuple[Job, ...], source: YamlSource) -> Iterator[InputProblem]:
    """Yield invalid and duplicate names (some file systems ignore case)."""
    if not names.is_batch_name(parsed.batch):
        yield source.problem(
            ("batch",),
            f"{parsed.batch!r} is not a batch name",
            "at most 40 of a-z 0-9 -, beginning with a letter, not ending with -",
        )
    seen: dict[str, Job] = {}
    for job in jobs:
        at = ("jobs", job.entry, "name")
        if not names.is_job_name(job.name) or len(job.name) > names.LONGEST_JOB_NAME:
            yield source.problem(
                at, f"{job.name!r} is not a job name", "letters, digits, _ - and single dots, at most 56"
            )
        elif job.name.lower() in seen:
            other = seen[job.name.lower()]
            remedy = (
                "put each {key} of the matrix into name" if other.entry == job.entry else "give each job its own name"
            )
            yield source.problem(at, f"two jobs are named {job.name!r}", remedy)
        seen.setdefault(job.name.lower(), job)


def _job_problems(parsed: JobsFile, jobs: tuple[Job, ...], source: YamlSource) -> Iterator[InputProblem]:
    wanted = parsed.machines.type
    if wanted is not None and wanted not in catalog.MACHINE_TYPES:
        known = difflib.get_close_matches(wanted, catalog.MACHINE_TYPES, n=3) or list(catalog.MACHINE_TYPES)
        yield source.problem(
            ("machines", "type"), f"unknown machine type {wanted!r}", f"for example {', '.join(known)}"
        )
    machine = catalog.MACHINE_TYPES.get(wanted or "")
    most, where = (machine.cores, machine.name) if machine else (catalog.LARGEST_CORES, "any machine type")
    yield from _include_problems(parsed.defaults.include, ("defaults", "include"), source)
    for index, entry in enumerate(parsed.jobs):
        first = next(job for job in jobs if job.entry == index)
        if first.np > most:
            at = ("jobs", index, "np") if entry.np is not None else ("defaults", "np")
            yield source.problem(at, f"np is {first.np}, more cores than {where} has", f"at most {most}")
        yield from _path_problems(entry, index, source)
        yield from _placeholder_problems(entry, index, source)


def _path_problems(entry: JobEntry, index: int, source: YamlSource) -> Iterator[InputProblem]:
    at = ("jobs", index, "main")
    if PurePosixPath(entry.main).suffix not in (".tcl", ".py"):
        yield source.problem(at, f"main is {entry.main!r}", "name a .tcl or .py script")
    if not _is_relative(entry.main):
        yield source.problem(at, f"main {entry.main!r} is not inside the job's folder", RELATIVE)
    yield from _include_problems(entry.include or [], ("jobs", index, "include"), source)


def _include_problems(patterns: list[str], at: Location, source: YamlSource) -> Iterator[InputProblem]:
    for index, pattern in enumerate(patterns):
        parts = PurePosixPath(pattern).parts
        if not _is_relative(pattern):
            message, remedy = f"include {pattern!r} is not inside the job's folder", RELATIVE
        elif not parts:
            message, remedy = f"include {pattern!r} names no file", "for all files write **/*"
        elif any("**" in part and part != "**" for part in parts):
            message, remedy = f"include {pattern!r}: ** stands for whole folders", "put a / around it, as in **/*.txt"
        else:
            continue
        yield source.problem((*at, index), message, remedy)


def _is_relative(path: str) -> bool:
    """Return whether a path is relative and stays inside the folder."""
    return path != "" and not PurePosixPath(path).is_absolute() and ".." not in path.split("/") and "\\" not in path


def _placeholder_problems(entry: JobEntry, index: int, source: YamlSource) -> Iterator[InputProblem]:
    """Yield a problem for each ``{key}`` that the matrix does not have: almost always a mistake."""
    known = set(entry.matrix or {})
    texts: list[tuple[Location, str]] = [(("jobs", index, "name"), entry.name)]
    texts += [(("jobs", index, "args", i), arg) for i, arg in enumerate(entry.args) if isinstance(arg, str)]
    for at, text in texts:
        for key in PLACEHOLDER.findall(text):
            if key not in known:
                listed = f"the matrix has {', '.join(sorted(known))}" if known else "the job has no matrix"
                yield source.problem(at, f"{{{key}}} in {text!r} is not defined", listed)
