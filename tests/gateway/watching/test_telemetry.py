"""OpenTelemetry: what is told of an attempt, to a real receiver of OTLP over HTTP; and nothing where it is off."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.gateway.conftest import MODEL, PROVIDER_KEY, RigMaker, add_key, says, script
from tests.gateway.test_server import ask_all
from tests.gateway.test_server import gateway as process

from crewcap.gateway.watching.telemetry import Telemetry, begin, secrets
from crewcap.prices import Book
from crewcap.simulator.server import Simulator
from crewcap.simulator.troubles import Trouble

PROMPT = "the-prompt-that-nobody-else-may-read"


@dataclass
class Watched:
    """Telemetry that keeps what it is told."""

    spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def __post_init__(self) -> None:
        tracing = TracerProvider(shutdown_on_exit=False)
        tracing.add_span_processor(SimpleSpanProcessor(self.spans))
        self.telemetry = Telemetry(tracing, MeterProvider([self.reader], shutdown_on_exit=False))

    def span(self) -> ReadableSpan:
        (span,) = self.spans.get_finished_spans()
        return span

    def metrics(self) -> dict[str, list[Any]]:
        """Data points by the name of their metric."""
        data = self.reader.get_metrics_data()
        scopes = data.resource_metrics[0].scope_metrics if data is not None else []
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}


def test_an_attempt_is_a_span_in_the_words_of_the_conventions(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            watched = Watched()
            r.gateway.service.watchers.append(watched.telemetry)
            before = time.time_ns()
            assert (await r.post(r.request(PROMPT), key=r.new_key(run="r1")))[0] == 200
            await r.settled()
            (entry,) = r.entries()
            span, said = watched.span(), dict(watched.span().attributes or {})
            assert (span.name, span.kind.name, span.status.status_code.name) == (f"chat {MODEL}", "CLIENT", "UNSET")
            assert before <= (span.start_time or 0) < (span.end_time or 0) <= time.time_ns()
            assert said["gen_ai.operation.name"] == "chat"
            assert said["gen_ai.provider.name"] == "anthropic"
            assert (said["gen_ai.request.model"], said["gen_ai.response.model"]) == (MODEL, entry.model)
            assert said["gen_ai.usage.input_tokens"] == entry.usage.prompt
            assert said["gen_ai.usage.output_tokens"] == entry.usage.output
            assert said["gen_ai.response.finish_reasons"] == ("end_turn",)
            assert said["crewcap.cost_nano_usd"] == entry.spent.nano
            assert said["crewcap.cost_usd"] == pytest.approx(float(entry.spent.exact()))
            assert (said["crewcap.run"], said["crewcap.end"]) == ("r1", "complete")
            assert PROMPT not in span.to_json()
            assert "Yes." not in span.to_json()

    asyncio.run(main())


def test_tokens_and_time_are_histograms_and_money_is_a_counter(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            watched = Watched()
            r.gateway.service.watchers.append(watched.telemetry)
            for _ in range(3):
                assert (await r.post(r.request()))[0] == 200
            assert (await r.post(b"{"))[0] == 400
            await r.settled()
            found, entries = watched.metrics(), r.entries()
            tokens = {point.attributes["gen_ai.token.type"]: point for point in found["gen_ai.client.token.usage"]}
            assert tokens["input"].sum == sum(entry.usage.prompt for entry in entries)
            assert tokens["output"].sum == sum(entry.usage.output for entry in entries)
            (duration,) = found["gen_ai.client.operation.duration"]
            assert (duration.count, duration.sum > 0) == (3, True)
            (cost,) = found["crewcap.cost"]
            assert cost.value == sum(entry.spent.nano for entry in entries) == r.simulator.meter.total().nano
            (refused,) = found["crewcap.refusals"]
            assert (refused.value, refused.attributes) == (1, {"crewcap.refusal.kind": "malformed"})
            for points in found.values():
                for point in points:
                    assert not {"crewcap.run", "crewcap.key"} & set(point.attributes), "low cardinality"

    asyncio.run(main())


def test_a_failure_of_the_provider_is_an_error_of_its_span(rig: RigMaker) -> None:
    broken = Trouble(status=400, kind="invalid_request_error", message="no")

    async def main() -> None:
        async with rig(script(says(refuse=broken))) as r:
            watched = Watched()
            r.gateway.service.watchers.append(watched.telemetry)
            assert (await r.post(r.request()))[0] == 400
            span = watched.span()
            assert span.status.status_code.name == "ERROR"
            assert (span.attributes or {})["error.type"] == "400"
            assert (span.attributes or {})["crewcap.cost_nano_usd"] == 0

    asyncio.run(main())


@dataclass
class Receiver:
    """An OTLP receiver."""

    url: str = ""
    traces: list[ExportTraceServiceRequest] = field(default_factory=list)
    metrics: list[ExportMetricsServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def spans(self) -> list[Any]:
        found = [each for request in self.traces for each in request.resource_spans]
        return [span for each in found for scope in each.scope_spans for span in scope.spans]

    def metric_names(self) -> set[str]:
        found = [each for request in self.metrics for each in request.resource_metrics]
        return {metric.name for each in found for scope in each.scope_metrics for metric in scope.metrics}


@contextmanager
def receiver() -> Iterator[Receiver]:
    seen = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            seen.headers.append({name.lower(): value for name, value in self.headers.items()})
            if self.path == "/v1/traces":
                seen.traces.append(ExportTraceServiceRequest.FromString(body))
            else:
                seen.metrics.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        seen.url = f"http://127.0.0.1:{server.server_port}"
        yield seen
        server.shutdown()


def test_the_real_command_sends_to_a_real_receiver_and_says_no_secret(tmp_path: Path, book: Book) -> None:
    """On by the standard variables alone; what is not sent yet is sent when the gateway ends."""
    with Simulator.in_thread(script(says()), book=book) as simulator, receiver() as seen:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": seen.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-team=fake-header-secret"}
        with process(tmp_path, simulator, environ=environ) as running:
            ledger = running.ledger()
            key = add_key(ledger, "1.00")
            assert {status for status, _ in asyncio.run(ask_all([running.url] * 3, key, max_tokens=100))} == {200}
            running.process.terminate()
            _, err = running.process.communicate(timeout=20)
            assert running.process.returncode == 0
            ledger.close()
        spans = seen.spans()
        assert [span.name for span in spans] == [f"chat {MODEL}"] * 3
        assert {"gen_ai.client.token.usage", "gen_ai.client.operation.duration", "crewcap.cost"} <= seen.metric_names()
        service = {each.key: each.value.string_value for each in seen.traces[0].resource_spans[0].resource.attributes}
        assert service["service.name"] == "crewcap"
        assert seen.headers[0]["x-team"] == "fake-header-secret"
        sent = [each.SerializeToString() for each in seen.traces] + [each.SerializeToString() for each in seen.metrics]
        everything = b"".join(sent) + err.encode()
        for secret in (PROVIDER_KEY, key.secret, "fake-header-secret"):
            assert secret.encode() not in everything


def test_a_receiver_that_is_gone_fails_no_request_and_holds_up_no_end(tmp_path: Path, book: Book) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with (
        Simulator.in_thread(script(says()), book=book) as simulator,
        process(tmp_path, simulator, environ=environ) as running,
    ):
        ledger = running.ledger()
        key = add_key(ledger, "1.00")
        began = time.monotonic()
        assert {status for status, _ in asyncio.run(ask_all([running.url] * 3, key, max_tokens=100))} == {200}
        assert time.monotonic() - began < 5
        running.process.terminate()
        assert running.process.wait(timeout=15) == 0
        ledger.close()


@pytest.mark.parametrize("environ", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {"OTEL_SDK_DISABLED": "true"}])
def test_where_it_is_off_nothing_of_it_is_imported(environ: dict[str, str]) -> None:
    if environ.get("OTEL_SDK_DISABLED"):
        environ = {**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    code = (
        "import json, sys; from crewcap.gateway.watching import telemetry; "
        "print(json.dumps([telemetry.begin(json.loads(sys.argv[1])) is None, "
        "[name for name in sys.modules if name.startswith(('opentelemetry', 'google', 'requests'))]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(environ)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, []]


def test_what_a_receivers_headers_hold_is_a_secret() -> None:
    said = {"OTEL_EXPORTER_OTLP_HEADERS": "a=one-secret, b=other", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "c=third"}
    assert secrets(said) == ("one-secret", "other", "third")
    assert secrets({}) == ()


def test_one_signal_alone_can_be_sent() -> None:
    async def main() -> None:
        for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"):
            begun = begin({name: "http://127.0.0.1:9/v1"})
            assert begun is not None
            assert len(begun._providers) == 1
            await begun.stop()

    asyncio.run(main())
