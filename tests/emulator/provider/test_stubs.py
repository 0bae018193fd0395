"""The provider is light: it loads the engine's stubs without the rest of Pulumi's SDK."""

import subprocess
import sys

LOADED = "import sys; import runner.emulator.provider.server; print(*sorted(sys.modules), sep='\\n')"


def test_the_sdk_is_not_loaded() -> None:
    run = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True)
    loaded = run.stdout.split()
    assert "pulumi.runtime.proto" in loaded
    assert "pulumi" not in loaded
    assert "pulumi_gcp" not in loaded


def test_the_sdk_can_still_be_loaded_afterwards() -> None:
    program = "import runner.emulator.provider.server, pulumi; print(pulumi.Output.from_input(1) is not None)"
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "True"
