"""The two targets: the embedded cloud and Google Cloud. All differences between them are here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from runner.errors import MissingToolError
from runner.google import Api, Buckets, Compute, Endpoints, Instance, Login, Objects, OsLogin, log_answers
from runner.model import names
from runner.model.settings import Settings
from runner.results import ResultStore
from runner.stacks import known_passphrase, own_passphrase, shared_passphrase
from runner.system.files import STATE_ELSEWHERE, disk_errors_mapped, make_private_folder
from runner.vms import SSH_LIMIT_S
from runner.wiring.google_credentials import find_credentials

if TYPE_CHECKING:
    import requests
    from google.cloud.storage import Client

    from runner.emulator.control import Endpoint
    from runner.hardware.opensees import OpenSeesInterface
    from runner.inventory import Inventory
    from runner.ssh import Connection, SshTarget
    from runner.stacks import ProjectName
    from runner.stacks.program import Program
    from runner.stacks.pulumi import PulumiStacks

ROOT = Path(__file__).resolve().parent.parent.parent
GOOGLE_SSH_PORT = 22
EMULATOR_START_LIMIT_S = 60.0
CONNECT_LIMIT_S = 15.0


class ConnectedCloud:
    """The parts that both targets share. Each is built when it is first needed, because its imports take time."""

    ssh_port = GOOGLE_SSH_PORT

    def __init__(self, settings: Settings, state_folder: Path, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.state_folder = state_folder
        self.environment = environment

    def open(self, *, needs_engine: bool = True) -> None:
        """Make sure that the cloud answers."""
        raise NotImplementedError

    @property
    def endpoints(self) -> Endpoints:
        """Where the APIs are."""
        raise NotImplementedError

    def new_session(self) -> requests.Session:
        """Return a session that sends our credentials."""
        raise NotImplementedError

    def new_storage_client(self) -> Client:
        """Return a Cloud Storage client with our credentials."""
        raise NotImplementedError

    def pulumi_environment(self) -> dict[str, str]:
        """Return the variables with which plain ``pulumi`` works on our stacks."""
        passphrase = self.passphrase_file()
        return ({} if passphrase is None else {"PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase)}) | {
            "PULUMI_BACKEND_URL": self.backend_url,
            "PULUMI_HOME": str(self.state_folder / "pulumi"),
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            "GOOGLE_PROJECT": self.settings.project,
            "GOOGLE_REGION": self.settings.region,
            "GOOGLE_ZONE": self.settings.zones_to_try[0],
        }

    @property
    def backend_url(self) -> str:
        """Where Pulumi's state is."""
        raise NotImplementedError

    @property
    def secrets_provider(self) -> str:
        """The key that encrypts secrets in Pulumi's state; '' for a passphrase."""
        return ""

    def passphrase_file(self) -> Path | None:
        """Return the file with the passphrase of Pulumi's state, created if one is needed and does not exist."""
        return own_passphrase(self.state_folder / "passphrase")

    @cached_property
    def compute(self) -> Compute:
        return Compute(Api(self.endpoints.compute, self.new_session), self.settings.project)

    @cached_property
    def results(self) -> ResultStore:
        return ResultStore(self.new_storage_client, names.bucket_name(self.settings.project))

    @cached_property
    def buckets(self) -> Buckets:
        return Buckets(self.new_storage_client)

    @cached_property
    def logins(self) -> OsLogin:
        return OsLogin(
            Api(self.endpoints.oslogin, self.new_session),
            operator=self.settings.operator,
            project=self.settings.project,
            key_file=self.state_folder / "ssh" / "id_ed25519",
        )

    def check_bake(self, recipe: str) -> None:
        """Do nothing: a VM has everything that a bake needs, or installs it."""

    def warm_up(self) -> None:
        """Begin to import Pulumi's provider package, which takes a second."""
        self.stacks.preload("analysis")

    def prepare_by_hand(self) -> None:
        """Link the settings of our stacks into infra/*."""
        self.stacks.link_settings()

    @cached_property
    def stacks(self) -> PulumiStacks:
        from runner.stacks.pulumi import EngineSite, PulumiStacks

        site = EngineSite(
            cli_bin=find_pulumi(self.environment),
            infra=ROOT / "infra",
            work=self._engine_folder,
            env={**self.environment, **self.pulumi_environment()},
            secrets_provider=self.secrets_provider,
        )
        return PulumiStacks(site, _programs())

    @cached_property
    def inventory(self) -> Inventory:
        from runner.inventory import (
            CloudInventory,
            LabelledCompute,
            OurAccounts,
            OurGrant,
            OurKeys,
            OurNetwork,
            OurRole,
            OurStorage,
            RememberedStacks,
        )
        from runner.stacks import StackRecords

        settings, endpoints = self.settings, self.endpoints
        compute = Api(endpoints.compute, self.new_session)
        storage = OurStorage(Api(f"{endpoints.storage}/storage/v1", self.new_session), settings.project)
        records = StackRecords(infra=ROOT / "infra", work=self._engine_folder, backend_url=self.backend_url)
        profile, iam = Api(endpoints.oslogin, self.new_session), Api(endpoints.iam, self.new_session)
        return CloudInventory(
            [
                LabelledCompute(compute, settings.project),
                OurNetwork(compute, settings.project, settings.region, storage.owner_of_base),
                storage,
                OurKeys(profile, operator=settings.operator, owner=settings.owner),
                OurGrant(Api(endpoints.resource_manager, self.new_session), settings.project, storage.owner_of_base),
                OurAccounts(iam, settings.project, storage.owner_of_base),
                OurRole(iam, settings.project, storage.owner_of_base),
                RememberedStacks(records, lambda: self.stacks, settings.owner),
            ]
        )

    @property
    def _engine_folder(self) -> Path:
        """The folder that the engine works in, with the settings of the stacks of this target."""
        return self.state_folder / self.settings.target / "engine"

    def connect(self, instance: Instance, login: Login, host_keys: Mapping[str, str]) -> Connection:
        """Wait until the instance answers, and return an SSH connection."""
        from runner.ssh import wait_for_ssh

        return wait_for_ssh(self._target(instance, login, host_keys), timeout_s=SSH_LIMIT_S)

    def job_interface(
        self, instance: Instance, login: Login, host_keys: Mapping[str, str], batch: str, *, limit_s: float
    ) -> OpenSeesInterface:
        """Wait until the instance answers, and return its job interface."""
        from runner.hardware.opensees import OpenSeesInterface

        return OpenSeesInterface(
            user=login.user,
            host=instance.address,
            port=self.ssh_port,
            name=instance.name,
            key_filename=login.key_file,
            host_keys=dict(host_keys),
            workspace_dir=f"{names.APP}/{batch}",
            boot_timeout_s=limit_s,
            # Half of the time is silence (two unanswered keepalives), the other half is for new attempts.
            keepalive_s=self.settings.lost_after_s / 6,
            connect_timeout_s=min(CONNECT_LIMIT_S, self.settings.lost_after_s / 4),
            reconnect_limit_s=self.settings.lost_after_s / 2,
        )

    def _target(self, instance: Instance, login: Login, host_keys: Mapping[str, str]) -> SshTarget:
        from runner.ssh import SshTarget

        return SshTarget(
            host=instance.address,
            port=self.ssh_port,
            user=login.user,
            key_filename=login.key_file,
            host_keys=_key_lines(host_keys),
        )


class LocalCloud(ConnectedCloud):
    """The embedded cloud, started when it is first needed."""

    @property
    def folder(self) -> Path:
        """The embedded cloud's state."""
        return self.state_folder / "local" / "cloud"

    @cached_property
    def endpoint(self) -> Endpoint:
        from runner.emulator import control

        with disk_errors_mapped(self.folder, more=STATE_ELSEWHERE):
            make_private_folder(self.folder)
            return control.start(self.folder, timeout_s=EMULATOR_START_LIMIT_S)

    def open(self, *, needs_engine: bool = True) -> None:
        """Start the embedded cloud if it is not running. If a required engine is missing, raise an error before that."""
        if needs_engine:
            find_pulumi(self.environment)
        self.ssh_port = self.endpoint.ssh_port
        self.compute.check_project()

    def check_bake(self, recipe: str) -> None:
        """Check the programs of this computer, which emulated instances use."""
        from runner.wiring.bake_host import check_bake_host

        check_bake_host(ROOT / "packer", recipe, self.environment)

    @property
    def endpoints(self) -> Endpoints:
        """Paths below the one address of the embedded cloud."""
        return Endpoints.below(self.endpoint.url)

    def new_session(self) -> requests.Session:
        """Return a session of the embedded cloud's owner."""
        from runner.wiring.owner_session import new_owner_session

        return new_owner_session(self.endpoint)

    def new_storage_client(self) -> Client:
        """Return a client of the owner for the storage of the embedded cloud."""
        from google.cloud.storage import Client

        from runner.wiring.owner_credentials import new_credentialed_session

        options: dict[str, Any] = {"api_endpoint": self.endpoints.storage}
        session = new_credentialed_session(self.endpoint)
        client = Client(
            project=self.settings.project, credentials=session.credentials, client_options=options, _http=session
        )
        return _logged(client)

    @property
    def backend_url(self) -> str:
        """A folder of this user."""
        stacks = self.state_folder / "local" / "stacks"
        with disk_errors_mapped(stacks, more=STATE_ELSEWHERE):
            make_private_folder(stacks)
        return f"file://{stacks}"

    def pulumi_environment(self) -> dict[str, str]:
        """Add the provider, which runs inside the embedded cloud."""
        return super().pulumi_environment() | {
            "PULUMI_DEBUG_PROVIDERS": f"gcp:{self.endpoint.provider_port}",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }


class GoogleCloud(ConnectedCloud):
    """Google Cloud, with the application default credentials."""

    def open(self, *, needs_engine: bool = True) -> None:
        """Read the project: wrong credentials, a wrong project or a missing network raise an error that says so."""
        if needs_engine:
            find_pulumi(self.environment)
        self.compute.check_project()

    @property
    def endpoints(self) -> Endpoints:
        """Google's own."""
        return Endpoints()

    def new_session(self) -> requests.Session:
        """Return a session with the application default credentials."""
        from google.auth.transport.requests import AuthorizedSession

        return AuthorizedSession(self._credentials)

    def new_storage_client(self) -> Client:
        """Return a client with the application default credentials."""
        from google.cloud.storage import Client

        return _logged(Client(project=self.settings.project, credentials=self._credentials))

    @property
    def backend_url(self) -> str:
        """The URL in ``PULUMI_BACKEND_URL``, else that of the bucket that ``invoke setup`` creates."""
        return self.environment.get("PULUMI_BACKEND_URL", f"gs://{names.state_bucket_name(self.settings.project)}")

    @property
    def secrets_provider(self) -> str:
        """A key in Cloud KMS, where the settings have one."""
        return self.settings.secrets_provider

    def passphrase_file(self) -> Path | None:
        """Return the file with the passphrase. For a state in a bucket it is kept there too, so that other computers can work on its stacks.

        Where a key encrypts, return only a passphrase that this computer has already, for stacks created with it.
        """
        own = self.state_folder / "passphrase"
        parts = urlsplit(self.backend_url)
        copy = self.state_folder / "google" / "passphrases" / parts.netloc
        if self.secrets_provider:
            return known_passphrase(copy, own) if parts.scheme == "gs" else known_passphrase(own)
        if parts.scheme != "gs":
            return own_passphrase(own)
        objects = Objects(self.new_storage_client, parts.netloc)
        try:
            return shared_passphrase(objects, copy, own=own)
        finally:
            objects.close()

    @cached_property
    def _credentials(self) -> Any:
        return find_credentials(self.settings.project, self.environment)


def _logged(client: Client) -> Client:
    """Let the client log the answers that it gets, which only its own session sees."""
    log_answers(client._http)
    return client


def find_pulumi(environment: Mapping[str, str]) -> Path:
    """Find the folder of the Pulumi CLI: on PATH, where ``bootstrap`` puts it, or in the cache that ``bootstrap`` fills.

    Raises:
        MissingToolError: there is none.
    """
    found = shutil.which("pulumi", path=environment.get("PATH"))
    if found is not None:
        return Path(found).parent
    from infra.engine.cli import Request, cache_of, find_engine
    from infra.engine.pins import load_pins

    request = Request(pins=load_pins(), cache=cache_of(environment), environment=environment)
    try:
        return find_engine(request).pulumi.parent
    except MissingToolError as error:
        raise MissingToolError(
            "there is no Pulumi CLI, neither on PATH nor in the cache",
            remedy="start commands as `./bootstrap invoke …`, which provides it",
        ) from error


def _key_lines(host_keys: Mapping[str, str]) -> tuple[str, ...]:
    """Format host keys as OpenSSH writes them: ``ssh-ed25519 AAAA…``."""
    return tuple(f"{kind} {blob}" for kind, blob in host_keys.items())


def _programs() -> dict[ProjectName, Callable[[], Program]]:
    """Return loaders of the stacks' programs: pulumi_gcp is slow to import, so each is loaded when it is needed."""

    def load(project: str) -> Callable[[], Program]:
        return lambda: cast("Program", import_module(f"infra.{project}.program").declare)

    return {"base": load("base"), "image": load("image"), "analysis": load("analysis")}
