"""The verbs of a project: set-up, image, the environment of plain Pulumi, drills."""

from __future__ import annotations

import os
import subprocess

from runner import wiring
from runner.cli.json_screen import JsonScreen
from runner.cli.verbs.verb import new_screen, report_abandoned, verb, write, write_exports
from runner.errors import DeclinedError, InputError, MissingToolError
from runner.options import project


@verb
def setup(options: project.Setup) -> int:
    """Point this user's commands at a project on Google Cloud."""
    from runner.commands import setup as command

    file = wiring.settings_file(os.environ)
    ranges = [part.strip() for part in options.ssh_from.split(",") if part.strip()]
    typed = {
        "project": options.project,
        "operator": options.operator,
        "region": options.region,
        "ssh_source_ranges": ranges,
    }
    merged = command.merge_settings(wiring.settings_text(os.environ), file, typed)
    context = wiring.make_context(
        os.environ | {"OPENSEES_HPC_TARGET": "google"},
        instead_of_file=merged.text,
        listener=new_screen(as_json=False, yes=options.yes).listener(),
    )
    state = command.execute(context, file=file, text=merged.text)
    is_beside = state.startswith("gs://") and not context.settings.secrets_provider
    write(f"Pulumi's state{', with its passphrase beside it' if is_beside else ''}: {state}")
    if merged.kept:
        write(f"kept from {file}: {', '.join(merged.kept)}")
    write(f"settings written to {file}; next: invoke build")
    return 0


@verb
def build(options: project.Build) -> int:
    """Bake an image."""
    from runner.commands import build as command

    context = wiring.make_context()
    recipe = options.recipe or context.settings.image_recipe
    if recipe not in command.RECIPES:
        raise InputError(f"unknown recipe {recipe!r}", remedy=f"known: {', '.join(command.RECIPES)}")
    screen = new_screen(as_json=options.json, yes=options.yes)
    report_abandoned(context, screen)
    summary = command.execute(context.with_listener(screen.listener()), recipe=recipe)
    if isinstance(screen, JsonScreen):
        screen.write("summary", summary.as_json())
    else:
        screen.show_image(summary.image, summary.versions, summary.phases_s)
    return 0


@verb
def env(options: project.Env) -> int:
    """Print, or start a shell with, the environment for plain ``pulumi``."""
    context = wiring.make_context()
    context.cloud.open()
    added = wiring.pulumi_shell_environment(context)
    if options.shell:
        own = os.environ.get("SHELL") or "/bin/sh"
        try:
            return subprocess.call([own], env=os.environ | added)  # noqa: S603 (the user's own shell)
        except OSError as error:
            raise MissingToolError(
                f"the shell {own} cannot be started: {error.strerror}", remedy="set SHELL to one that starts"
            ) from error
    write_exports(added)
    return 0


@verb
def drill(options: project.Drill) -> int:
    """Break batches on purpose, and show what is left."""
    from runner.drill import program, request, targets

    trials = request.read_trials(options)
    screen = new_screen(as_json=options.json, yes=options.yes)
    listener = screen.listener()
    if options.on == "google" and not listener.on_confirm(
        "Run an analysis of one minute on a spot VM in your project, which costs money?"
    ):
        raise DeclinedError("nothing was created", remedy="confirm, or give --yes where nobody can be asked")
    open_site = targets.google_site if options.on == "google" else targets.temporary_local_site
    with open_site(os.environ, listener.warn) as site:
        summary = program.execute(site, trials, listener)
    screen.show_drill(summary)
    return summary.exit_code
