"""Every operation of /openapi.json, with requests that fit its description and requests that do not: the answers are as
described, and none of them is an internal error. FUZZ_EXAMPLES=1000 tries more, and others each time."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

load_all_checks()
BODY = CHECKS.get_by_names(["content_type_conformance", "response_schema_conformance"])
STATUS = CHECKS.get_by_names(["status_code_conformance"])

# Of any request; the description need not repeat them for each operation.
GENERAL = {400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 431, 503}
# Because of a server that cannot be reached.
UPSTREAM = {502, 503, 504}

bounded = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "20")),
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfitting"])
def test_every_operation_answers_as_it_is_described(schema, key, mode):
    operations, faults = [found.ok() for found in schema.get_all_operations()], []
    for operation in operations:

        @bounded
        @given(case=operation.as_strategy(generation_mode=mode))
        def answers_as_described(case):
            if operation.path == "/v2/events" and mode == GenerationMode.POSITIVE:  # Else the stream goes on.
                case.query = {**(case.query or {}), "timeout": 0}
            elif operation.path == "/v2/events":
                case.query = {"timeout": 0, **(case.query or {})}
            response = case.call(headers={"X-Api-Key": key}, timeout=60)
            assert response.status_code < 500 or response.status_code in UPSTREAM, response.text
            case.validate_response(response, checks=BODY if response.status_code in GENERAL else BODY + STATUS)

        try:
            answers_as_described()
        # Hypothesis reports several faults of one operation as a group.
        except Exception as error:
            faults.append(f"{operation.method.upper()} {operation.path}: {error}")
    assert len(operations) >= 22
    assert not faults, "\n\n".join(faults)
