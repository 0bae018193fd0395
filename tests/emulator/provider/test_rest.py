"""Requests are retried as by the stock plugin, and errors have its texts."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from runner.emulator.provider.rest import ApiError, OperationError, Rest


def rest_answering(*answers: tuple[int, Any]) -> Rest:
    waiting = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        status, body = next(waiting)
        return httpx.Response(status, json=body)

    return Rest("http://cloud", "token", transport=httpx.MockTransport(answer))


def refusal(status: int, reason: str, message: str = "No.") -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "errors": [{"message": message, "reason": reason}]}}


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_temporary_faults_are_retried(status: int) -> None:
    rest = rest_answering((status, refusal(status, "backendError")), (200, {"name": "there"}))
    assert rest.get("compute/v1/x") == {"name": "there"}


def test_rate_limits_of_403_are_not() -> None:
    rest = rest_answering((403, refusal(403, "rateLimitExceeded", "Rate Limit Exceeded")))
    with pytest.raises(ApiError, match=r"^googleapi: Error 403: Rate Limit Exceeded, rateLimitExceeded$"):
        rest.get("compute/v1/x")


def test_lost_connections_are_retried() -> None:
    lost = iter([True, False])

    def answer(request: httpx.Request) -> httpx.Response:
        if next(lost):
            raise httpx.ReadError("lost")
        return httpx.Response(200, json={})

    assert Rest("http://cloud", "token", transport=httpx.MockTransport(answer)).get("x") == {}


def test_a_missing_resource_is_none_where_requested() -> None:
    gone = (404, refusal(404, "notFound"))
    assert rest_answering(gone).find("x") is None
    assert rest_answering(gone).remove("x") is None
    with pytest.raises(ApiError):
        rest_answering(gone).delete("x")


def test_details_are_shown() -> None:
    body = refusal(403, "accessNotConfigured", "Off.")
    body["error"]["errors"][0]["message"] = "Other words."
    body["error"]["details"] = [{"reason": "SERVICE_DISABLED"}]
    with pytest.raises(ApiError) as raised:
        rest_answering((403, body)).get("x")
    assert str(raised.value).splitlines()[:2] == ["googleapi: Error 403: Off.", "Details:"]
    assert '"reason": "SERVICE_DISABLED"' in str(raised.value)
    assert str(raised.value).endswith("More details:\nReason: accessNotConfigured, Message: Other words.")


def test_an_answer_that_is_not_googles_is_quoted() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(418, text="teapot"))
    with pytest.raises(ApiError, match=r"418.*teapot"):
        Rest("http://cloud", "token", transport=transport).get("x")


def test_quota_errors_of_operations_name_the_metric() -> None:
    quota = {
        "metricName": "compute.googleapis.com/preemptible_cpus",
        "limitName": "PREEMPTIBLE-CPUS-per-project-region",
        "dimensions": {"region": "europe-west4"},
        "limit": 8.0,
    }
    error = {"code": "QUOTA_EXCEEDED", "message": "Quota exceeded.", "errorDetails": [{"quotaInfo": quota}]}
    assert str(OperationError([error])).splitlines() == [
        "Quota exceeded.",
        "\tmetric name = compute.googleapis.com/preemptible_cpus",
        "\tlimit name = PREEMPTIBLE-CPUS-per-project-region",
        "\tlimit = 8",
        "\tdimensions = map[region:europe-west4]",
    ]


def test_stockouts_show_the_advice_not_the_code() -> None:
    details = [
        {"help": {"links": [{"description": "Troubleshooting", "url": "https://example.com"}]}},
        {"localizedMessage": {"message": "Try another zone."}},
    ]
    error = {"code": "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "message": "No.", "errorDetails": details}
    assert str(OperationError([error])) == "No.\n\nTry another zone.\n\nTroubleshooting\nhttps://example.com\n"


def test_a_cloud_that_is_stopped_meanwhile_is_an_error_and_not_a_defect() -> None:
    rest = Rest("http://cloud", "token", transport=httpx.MockTransport(lambda request: httpx.Response(200, json={})))
    rest.close()
    with pytest.raises(ApiError) as caught:
        rest.post("compute/v1/projects/p/zones/z/operations/o/wait")
    assert caught.value.status == 503
