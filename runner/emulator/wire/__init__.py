"""The format of Google's requests and responses, and what clients may send: fields, names, filters, lists, errors.

Nothing here knows who calls, or which resources exist.
"""

from runner.emulator.wire import api_errors, request_fields
from runner.emulator.wire.browsers import refuse_foreign_names, refuse_web_pages
from runner.emulator.wire.listeners import LOOPBACK, bind_port, choose_ssh_port
from runner.emulator.wire.listing import Entries, aggregated_document, list_document, sized_page
from runner.emulator.wire.request_ids import RequestIds
from runner.emulator.wire.validation import (
    check_bucket_name,
    check_choice,
    check_fields,
    check_labels,
    check_metadata,
    check_name,
    read_int,
)
from runner.emulator.wire.wire import (
    compute_time,
    error_document,
    fresh_fingerprint,
    link,
    read_json,
    relative,
    scope_of,
    tail,
    without_blanks,
    zulu_time,
)

__all__ = [
    "LOOPBACK",
    "Entries",
    "RequestIds",
    "aggregated_document",
    "api_errors",
    "bind_port",
    "check_bucket_name",
    "check_choice",
    "check_fields",
    "check_labels",
    "check_metadata",
    "check_name",
    "choose_ssh_port",
    "compute_time",
    "error_document",
    "fresh_fingerprint",
    "link",
    "list_document",
    "read_int",
    "read_json",
    "refuse_foreign_names",
    "refuse_web_pages",
    "relative",
    "request_fields",
    "scope_of",
    "sized_page",
    "tail",
    "without_blanks",
    "zulu_time",
]
