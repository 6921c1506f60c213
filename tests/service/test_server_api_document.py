"""Requests made from the OpenAPI document by schemathesis: none breaks the server."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from server_kit import serving

from lanternfish.service import store as st
from lanternfish.service.server.openapi import document

schemathesis = pytest.importorskip("schemathesis")
EXAMPLES = 6  # requests of each operation


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("document"), sign_in_tries=10**6) as running:
        admin = running.user("admin", admin=True)
        st.create_group(running.store, "lab", owner=admin)
        yield running


def test_no_request_of_the_document_breaks_the_server(server):
    told = document(server.app)
    schema = schemathesis.openapi.from_dict(told)
    tried = 0
    with server.client("admin") as client:
        for found in schema.get_all_operations():
            operation = found.ok()
            if "stream" in operation.path:
                continue  # they end only with their job

            @given(case=operation.as_strategy())
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def breaks_nothing(case):
                kept = client.headers["Authorization"]
                told = case.as_transport_kwargs(base_url=server.url)
                headers = dict(told.get("headers") or {})
                headers["Authorization"] = kept
                answer = client.request(
                    told["method"],
                    told["url"],
                    params=told.get("params"),
                    headers={k: str(v).encode("latin-1", "replace") for k, v in headers.items()},
                    json=told.get("json"),
                    cookies=None,
                )
                assert answer.status_code < 500, (told, answer.text)
                if answer.status_code >= 400 and answer.content:
                    assert answer.json()["detail"], told

            breaks_nothing()
            tried += 1
    assert tried > 40
