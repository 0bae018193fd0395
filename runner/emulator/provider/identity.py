"""Service accounts, custom roles, and keys for OS Login."""

from __future__ import annotations

from runner.emulator.provider.resource import Cloud, Edit, Operations, ProviderError, ResourceType
from runner.emulator.provider.rest import Answer, ApiError
from runner.emulator.provider.schema import all_fields, collection, flag, output, outputs, project, text
from runner.emulator.provider.values import Properties

_CONFLICT = 409


class AccountOperations(Operations):
    """serviceaccount.Account."""

    def create(self, cloud: Cloud, news: Properties) -> str:
        project, account = cloud.location_of(news, "project"), news["accountId"]
        about = {key: news[key] for key in ("description", "displayName") if news.get(key)}
        id = f"projects/{project}/serviceAccounts/{account}@{project}.iam.gserviceaccount.com"
        try:
            path = f"iam/v1/projects/{project}/serviceAccounts"
            cloud.rest.post(path, {"accountId": account, "serviceAccount": about})
        except ApiError as error:
            if not (error.status == _CONFLICT and news.get("createIgnoreAlreadyExists")):
                raise ProviderError(f"Error creating service account: {error}") from error
        if news.get("disabled"):
            cloud.rest.post(f"iam/v1/{id}:disable", {})
        return id

    def read(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        if "/" not in id:
            id = f"projects/{cloud.settings.project}/serviceAccounts/{id}"
        found = cloud.rest.find(f"iam/v1/{id}")
        if found is None:
            return None
        email = found.get("email", "")
        return {key: found.get(key) for key in ("name", "email", "uniqueId", "displayName", "description")} | {
            "id": id,
            "accountId": email.split("@")[0],
            "project": found.get("projectId", ""),
            "member": f"serviceAccount:{email}",
            "disabled": found.get("disabled", False),
            "createIgnoreAlreadyExists": prior.get("createIgnoreAlreadyExists"),
        }

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        path = f"iam/v1/{id}"
        masks = [mask for key, mask in _MASKS.items() if edit.touches(key)]
        if masks:
            etag = cloud.rest.get(path).get("etag")
            about = {key: edit.news.get(key, "") for key in _MASKS} | {"etag": etag}
            cloud.rest.patch(path, {"serviceAccount": about, "updateMask": ",".join(masks)})
        if edit.touches("disabled"):
            cloud.rest.post(f"{path}:{'disable' if edit.news.get('disabled') else 'enable'}", {})

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        cloud.rest.remove(f"iam/v1/{id}")


_MASKS = {"displayName": "display_name", "description": "description"}

ACCOUNT = ResourceType(
    token="gcp:serviceaccount/account:Account",  # noqa: S106
    operations=AccountOperations(),
    fields=all_fields(
        project(),
        {
            "accountId": text(required=True, replace=True, pattern=r"[a-z](?:[-a-z0-9]{4,28}[a-z0-9])"),
            "displayName": text(),
            "description": text(),
            "disabled": flag(default=False),
            "createIgnoreAlreadyExists": flag(),
        },
        outputs("email", "member", "name", "uniqueId"),
    ),
)


class CustomRoleOperations(Operations):
    """projects.IAMCustomRole. Google deletes roles softly: one of that name is undeleted, not created anew."""

    def create(self, cloud: Cloud, news: Properties) -> str:
        project = cloud.location_of(news, "project")
        id = f"projects/{project}/roles/{news['roleId']}"
        found = cloud.rest.find(f"iam/v1/{id}")
        if found is not None and not found.get("deleted"):
            raise ProviderError(f"Custom project role {id} already exists and must be imported")
        wanted = self._body(news)
        try:
            if found is None:
                cloud.rest.post(f"iam/v1/projects/{project}/roles", {"role": wanted, "roleId": news["roleId"]})
            else:
                cloud.rest.post(f"iam/v1/{id}:undelete", {})
                cloud.rest.patch(f"iam/v1/{id}", wanted)
        except ApiError as error:
            raise ProviderError(f"Error creating the custom project role {id}: {error}") from error
        return id

    def _body(self, news: Properties) -> Answer:
        plain = {key: news[key] for key in ("description", "stage", "title") if news.get(key)}
        return plain | {"includedPermissions": sorted(news["permissions"])}

    def read(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        if not id.startswith("projects/"):
            id = f"projects/{cloud.settings.project}/roles/{id.rsplit('/', 1)[-1]}"
        found = cloud.rest.find(f"iam/v1/{id}")
        if found is None or found.get("deleted"):
            return None
        return {key: found.get(key) for key in ("name", "title", "description", "stage")} | {
            "id": id,
            "project": id.split("/")[1],
            "roleId": found.get("name", "").rsplit("/", 1)[-1],
            "permissions": found.get("includedPermissions", []),
            "deleted": False,
        }

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        cloud.rest.patch(f"iam/v1/{id}", {"description": ""} | self._body(edit.news))

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        cloud.rest.remove(f"iam/v1/{id}")


CUSTOM_ROLE = ResourceType(
    token="gcp:projects/iAMCustomRole:IAMCustomRole",  # noqa: S106
    operations=CustomRoleOperations(),
    fields=all_fields(
        project(),
        {
            "roleId": text(required=True, replace=True, pattern=r"[a-zA-Z0-9_.]{3,64}"),
            "title": text(required=True),
            "description": text(),
            "permissions": collection(text(), required=True),
            "stage": text(default="GA"),
            "deleted": output(flag()),
        },
        outputs("name"),
    ),
)


class SshKeyOperations(Operations):
    """oslogin.SshPublicKey."""

    def create(self, cloud: Cloud, news: Properties) -> str:
        body = {key: news[key] for key in ("key", "expirationTimeUsec") if news.get(key)}
        query = {"projectId": news["project"]} if news.get("project") else {}
        try:
            answer = cloud.rest.post(f"oslogin/v1/users/{news['user']}:importSshPublicKey", body, **query)
        except ApiError as error:
            raise ProviderError(f"Error creating SSHPublicKey: {error}") from error
        keys: dict[str, Answer] = answer.get("loginProfile", {}).get("sshPublicKeys", {})
        for fingerprint, found in keys.items():
            if found.get("key", "").strip() == news["key"].strip():
                return f"users/{news['user']}/sshPublicKeys/{fingerprint}"
        raise ProviderError("Error creating SSHPublicKey: the key is not in the login profile that was returned")

    def read(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        found = cloud.rest.find(f"oslogin/v1/{id}/")
        if found is None:
            return None
        return {
            "id": id,
            "user": id.split("/")[1],
            "key": found.get("key"),
            "fingerprint": found.get("fingerprint") or id.rsplit("/", 1)[-1],
            "expirationTimeUsec": found.get("expirationTimeUsec"),
            "project": prior.get("project"),
        }

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        if edit.touches("expirationTimeUsec"):
            body = {"expirationTimeUsec": edit.news.get("expirationTimeUsec")}
            cloud.rest.patch(f"oslogin/v1/{id}/", body, updateMask="expirationTimeUsec")

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        cloud.rest.remove(f"oslogin/v1/{id}/")


def _same_key(old: str, new: str) -> bool:
    return old.strip() == new.strip()


SSH_PUBLIC_KEY = ResourceType(
    token="gcp:oslogin/sshPublicKey:SshPublicKey",  # noqa: S106
    operations=SshKeyOperations(),
    fields=all_fields(
        {
            "user": text(required=True, replace=True),
            "key": text(required=True, replace=True, same=_same_key),
            "expirationTimeUsec": text(),
            "project": text(replace=True),
        },
        outputs("fingerprint"),
    ),
)
