"""The repository as a whole: nothing of one machine in it, clean text, a README whose commands and links hold."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.cli.checks import generated_docs
from tests.needs import need

ROOT = Path(__file__).resolve().parent.parent
README_COMMANDS = ("./bootstrap invoke run --jobs jobs/batch1.yaml", "./bootstrap invoke test")
AS_RECEIVED = ("tests/data/", "infra/engine/pulumi/go.sum", "infra/engine/language-python/go.sum")
BINARY_SUFFIXES = {".png", ".zst", ".gz", ".h5", ".whl"}
MACHINE_PATH = re.compile(r"(?<![\w.>}])/(?:work|root|tmp)/|/home/(?:runner|ubuntu|vscode)/|/Users/\w")
REGISTRY_HOST = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|proxy\.golang\.org|sum\.golang\.org|registry\.npmjs\.org|crates\.io|deb\.debian\.org"
    r"|archive\.ubuntu\.com)\b"
)
LATER = re.compile(r"\b(?:TO(?:)DO|FIX(?:)ME|X{3}|HA(?:)CK)\b")
PRIVATE_WORDS = frozenset(
    {"estate", "desk", "turns", "places", "patience", "shelf", "damage", "damaged", "arrivals", "outlived"}
)
BASH_SHEBANG = re.compile(r"^#!.*\bbash\b")
STRICT_MODE = re.compile(r"^set -E?euo pipefail$", re.MULTILINE)
MARKDOWN_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MARKDOWN_HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)
MARKDOWN_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MARKDOWN_CODE = re.compile(r"^```.*?^```|^ {4}.*?$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
INVOKE_CALL = re.compile(r"\binvoke ((?:--?[\w-]+ )*)([a-z][\w.-]*\w)")
SHELL_COMMENT = re.compile(r"\s#.*$", re.MULTILINE)


def run_git(*arguments: str) -> str:
    """The working copy may belong to someone else, as it does in a container."""
    command = ["git", "-c", "safe.directory=*", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def list_tracked() -> dict[str, str]:
    """Path to mode (``100755``: executable, ``120000``: link) of what git holds and the working tree still has."""
    need("git")
    rows = (row.split("\t", 1) for row in run_git("ls-files", "-s", "-z").split("\0") if row)
    return {path: stage.split()[0] for stage, path in rows if (ROOT / path).is_file()}


TRACKED = list_tracked()
OURS = [
    path
    for path, mode in TRACKED.items()
    if mode != "120000" and not path.startswith(AS_RECEIVED) and Path(path).suffix not in BINARY_SUFFIXES
]
MARKDOWN = [path for path in OURS if path.endswith(".md")]


def read(path: str) -> str:
    return (ROOT / path).read_bytes().decode("utf-8")


def find_lines(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:120]}"
        for path in OURS
        for number, line in enumerate(read(path).split("\n"), start=1)
        if pattern.search(line)
    ]


def find_names(words: frozenset[str]) -> set[str]:
    """The identifiers of our Python code that have one of these words in them."""
    programs = [path for path in OURS if path.endswith(".py") and path.startswith(("runner/", "infra/", "packer/"))]
    tokens = (token for path in programs for token in tokenize.generate_tokens(io.StringIO(read(path)).readline))
    names = {token.string for token in tokens if token.type == tokenize.NAME}
    return {name for name in names if words & {part.lower() for part in re.findall("[A-Z]?[a-z]+", name)}}


def test_one_word_a_concept() -> None:
    """Names say inventory, lock, cache, corrupt, downloaded, expired (docs/glossary.md), not the words of a private language."""
    assert find_names(frozenset({"emulator"}))
    assert find_names(PRIVATE_WORDS) == set()


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST, LATER], ids=["machine path", "registry", "later"])
def test_is_nowhere(pattern: re.Pattern[str]) -> None:
    found = find_lines(pattern)
    assert not found, "\n".join(found)


def list_flaws(path: str) -> Iterator[str]:
    raw = (ROOT / path).read_bytes()
    if not raw:
        return
    lines = raw.split(b"\n")
    if raw.startswith(b"\xef\xbb\xbf"):
        yield "byte order mark"
    if b"\r" in raw:
        yield "carriage return"
    if not raw.endswith(b"\n") or raw.endswith(b"\n\n"):
        yield "does not end with one newline"
    if any(line != line.rstrip() for line in lines):
        yield f"trailing space in line {next(n for n, line in enumerate(lines, 1) if line != line.rstrip())}"
    if path.endswith((".py", ".yaml", ".yml", ".toml", ".md")) and b"\t" in raw:
        yield "tab"
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        yield "not UTF-8"


def test_text_is_clean() -> None:
    flaws = [f"{path}: {flaw}" for path in OURS for flaw in list_flaws(path)]
    assert not flaws, "\n".join(flaws)


def test_programs_have_a_shebang_and_are_executable() -> None:
    """A shell library has a shebang, too: it tells editors and shellcheck the dialect."""
    shebang = {path for path in OURS if read(path).startswith("#!")}
    executable = {path for path in OURS if TRACKED[path] == "100755"}
    assert not executable - shebang
    assert not {path for path in shebang - executable if not path.endswith(".sh")}


def test_bash_programs_are_strict() -> None:
    programs = [path for path in OURS if TRACKED[path] == "100755" and BASH_SHEBANG.match(read(path))]
    assert not [path for path in programs if not STRICT_MODE.search(read(path))]


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "bootstrap", ".ci/run"])
def test_is_there(path: str) -> None:
    assert path in TRACKED


@pytest.mark.parametrize("command", README_COMMANDS)
def test_readme_has_the_command(command: str) -> None:
    lines = [line.strip().removeprefix("$ ") for line in read("README.md").splitlines()]
    assert any(line == command or line.startswith(f"{command} ") for line in lines)


def test_the_readme_has_an_index_of_every_page() -> None:
    pages = [path for path in OURS if path.startswith("docs/") and path.endswith(".md")]
    assert pages
    assert not [page for page in pages if f"| [{page}]({page}) |" not in read("README.md")]


def test_the_glossary_has_ten_terms() -> None:
    assert sum(line.startswith("| **") for line in read("docs/glossary.md").splitlines()) == 10


def test_readme_commands_name_what_exists() -> None:
    assert TRACKED["bootstrap"] == "100755"
    assert "jobs/batch1.yaml" in TRACKED


def test_ci_runs_the_readmes_test_command() -> None:
    assert README_COMMANDS[1] in read(".ci/run")


def test_tasks_that_documents_name_exist() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "--list"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    tasks = {word for line in done.stdout.splitlines() for word in re.findall(r"[\w.-]+", line.split("   ")[0])}
    named = {
        (path, match[2])
        for path in MARKDOWN
        for block in MARKDOWN_CODE.findall(read(path))
        for match in INVOKE_CALL.finditer(SHELL_COMMENT.sub("", block))
    }
    known = tasks | {task.partition(".")[0] for task in tasks}
    assert not {(path, task) for path, task in named if task not in known}


def list_anchors(path: str) -> set[str]:
    """As GitHub makes them: lower case, punctuation away, spaces to hyphens."""
    headings = MARKDOWN_HEADING.findall(MARKDOWN_FENCE.sub("", read(path)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def resolve_link(path: str, link: str) -> str | None:
    """What is wrong with a link, or None. Links to other sites are not followed."""
    if re.match(r"[a-z]+:", link):
        return None
    file, _, anchor = link.partition("#")
    target = (ROOT / path).parent / file if file else ROOT / path
    if not target.resolve().is_relative_to(ROOT) or not target.exists():
        return f"{path}: {link} leads nowhere"
    if anchor and anchor not in list_anchors(str(target.resolve().relative_to(ROOT))):
        return f"{path}: {link}: no such heading"
    return None


def test_links_in_markdown_resolve() -> None:
    links = [(path, link) for path in MARKDOWN for link in MARKDOWN_LINK.findall(MARKDOWN_FENCE.sub("", read(path)))]
    wrong = [flaw for path, link in links if (flaw := resolve_link(path, link))]
    assert not wrong, "\n".join(wrong)


def test_generated_documents_are_up_to_date() -> None:
    for path, text in generated_docs(ROOT).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `invoke docs`"


def test_help_says_where_json_is_one_object() -> None:
    command = [sys.executable, "-m", "invoke", "results", "--help"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "Without --batch: one object" in " ".join(told.split())
