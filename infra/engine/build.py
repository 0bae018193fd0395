"""The Pulumi CLI and its Python language host built from Go modules, for computers that cannot download them.

Each of the two folders beside this module pins all it needs in ``go.mod`` and ``go.sum``; nothing is resolved at build
time. The language host is the last version that the module proxy has, which is older; the script that it runs is the newer one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from infra.engine.go import Toolchain, find_or_install_go
from infra.engine.pins import LANGUAGE_MODULE, PULUMI_MODULE, Pins
from infra.engine.process import read_output, report, run_logged
from runner.errors import MissingToolError

PULUMI_PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
LANGUAGE_PACKAGE = "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
SDK_MODULE = "github.com/pulumi/pulumi/sdk/v3"
VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
EXEC_SCRIPT = "pulumi-language-python-exec"
REPORT_EVERY_S = 15.0


def build_programs(folder: Path, *, pins: Pins, cache: Path, environment: Mapping[str, str]) -> None:
    """Put ``pulumi``, ``pulumi-language-python`` and its script into ``folder``.

    Raises:
        MissingToolError: no Go is available, a module could not be fetched, or the compiler failed.
    """
    log = cache / "pulumi" / "build.log"
    log.write_text("", encoding="utf-8")
    toolchain = find_or_install_go(pins, cache=cache, environment=environment, log=log)
    report(f"building Pulumi {pins.version}: about 5 minutes on 2 cores, once for this user")
    report(f"  with {toolchain.go}, log in {log}")
    for package, module in ((PULUMI_PACKAGE, PULUMI_MODULE), (LANGUAGE_PACKAGE, LANGUAGE_MODULE)):
        build_package(package, module, folder, toolchain=toolchain, version=str(pins.version))
    copy_exec_script(folder, toolchain=toolchain)
    if toolchain.scratch:
        shutil.rmtree(toolchain.scratch, ignore_errors=True)


def build_package(package: str, module: Path, folder: Path, *, toolchain: Toolchain, version: str) -> None:
    name = package.rpartition("/")[2]
    reproducible = ("-mod=readonly", "-trimpath", "-buildvcs=false")
    flags = (*reproducible, *toolchain.flags, "-ldflags", f"-s -w -X {VERSION_VARIABLE}=v{version}")
    outcome = run_logged(
        (str(toolchain.go), "build", "-v", *flags, "-o", str(folder / name), package),
        log=toolchain.log,
        environment=toolchain.environment,
        folder=module,
        on_line=count_steps(name),
    )
    if outcome.exit_code != 0:
        raise MissingToolError(
            f"build: `go build` of {name} ended with exit code {outcome.exit_code} "
            f"(GOPROXY decides where modules come from; log: {toolchain.log}):{outcome.describe_end()}"
        )


def count_steps(name: str) -> Callable[[str], None]:
    """Report now and then how many modules and packages Go has fetched and compiled: it prints a line for each."""
    started = reported = time.monotonic()
    modules = packages = 0

    def count(line: str) -> None:
        nonlocal reported, modules, packages
        if line.startswith("go: "):
            modules += 1
        else:
            packages += 1
        now = time.monotonic()
        if now - reported >= REPORT_EVERY_S:
            reported = now
            report(f"  {name}: {modules} modules fetched, {packages} packages compiled, {now - started:.0f} s")

    return count


def copy_exec_script(folder: Path, *, toolchain: Toolchain) -> None:
    command = (str(toolchain.go), "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", SDK_MODULE)
    sdk = read_output(command, environment=toolchain.environment, folder=PULUMI_MODULE)
    script = Path(sdk or "", "python", "cmd", EXEC_SCRIPT)
    if not sdk or not script.is_file():
        raise MissingToolError(f"build: {SDK_MODULE} has no {EXEC_SCRIPT} ({' '.join(command)})")
    shutil.copyfile(script, folder / EXEC_SCRIPT)
    (folder / EXEC_SCRIPT).chmod(0o755)
