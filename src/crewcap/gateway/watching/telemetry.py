"""OpenTelemetry: a span and two histograms for each attempt at a provider, in the words of the gen_ai conventions.

On where the extra is installed (`pip install crewcap[otel]`) and the standard variable says where to send things
(`OTEL_EXPORTER_OTLP_ENDPOINT`, or the one for traces or metrics alone); the other standard variables hold as well.
Otherwise nothing of it is imported.

    span       `chat claude-sonnet-5`: gen_ai.operation.name, gen_ai.provider.name, gen_ai.request.model,
               gen_ai.response.model, gen_ai.response.id, gen_ai.usage.*, error.type, and crewcap.* for money and run
    metrics    gen_ai.client.token.usage, gen_ai.client.operation.duration, crewcap.cost, crewcap.refusals

No prompt and no answer is ever in there: this gateway's watchers do not see them. Exporting is the affair of the
library's own threads: a receiver that is slow or gone costs a request nothing, and what does not fit into their
queue is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from crewcap import __version__
from crewcap.gateway.watching.metrics import model_of
from crewcap.gateway.watching.watchers import Declined, Ended

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

log = logging.getLogger(__name__)

TRACES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
METRICS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS")
STOP_S = 5

_EXPORTER = "opentelemetry.exporter.otlp.proto.http"
_OPERATIONS: Mapping[str, str] = {"gemini": "generate_content"}  # all others chat
_PROVIDERS: Mapping[str, str] = {"google": "gcp.gemini"}  # as the conventions call who is called so in the price list
_TOKENS = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864)
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)


def begin(environ: Mapping[str, str]) -> Telemetry | None:
    """Telemetry as the standard variables want it; None where they want none, or the extra is not installed."""
    wants = any(environ.get(name) for name in (*TRACES, *METRICS))
    if not wants or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if not _is_installed():
        log.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set and the extra is not installed: pip install 'crewcap[otel]'")
        return None
    if environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf") != "http/protobuf":
        log.warning("telemetry is sent as http/protobuf, whatever OTEL_EXPORTER_OTLP_PROTOCOL says")
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    return Telemetry(_tracing(environ), _metering(environ))


def _is_installed() -> bool:
    try:
        return find_spec("opentelemetry.sdk") is not None and find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:
        return False


def secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What a receiver's headers hold, for logs to leave out."""
    said = [pair for name in HEADERS for pair in environ.get(name, "").split(",")]
    return tuple(value for value in (pair.partition("=")[2].strip() for pair in said) if value)


class Telemetry:
    """A watcher that hands on what it is told to OpenTelemetry."""

    def __init__(self, tracing: TracerProvider | None, metering: MeterProvider | None) -> None:
        from opentelemetry.metrics import NoOpMeter  # noqa: PLC0415  (an extra)
        from opentelemetry.trace import NoOpTracer  # noqa: PLC0415

        self._providers = [each for each in (tracing, metering) if each is not None]
        self._tracer = tracing.get_tracer("crewcap", __version__) if tracing else NoOpTracer()
        meter = metering.get_meter("crewcap", __version__) if metering else NoOpMeter("crewcap")
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens of one attempt.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="How long one attempt took.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._cost = meter.create_counter("crewcap.cost", unit="n{USD}", description="Billed, in nano-dollars.")
        self._refusals = meter.create_counter("crewcap.refusals", unit="{request}", description="Answered by crewcap.")

    def ended(self, ended: Ended) -> None:
        """A span and its measurements."""
        said = _common(ended)
        self._span(ended, said)
        usage = ended.closed.usage
        for kind, count in (("input", usage.prompt), ("output", usage.output)):
            if count:
                self._tokens.record(count, {**said, "gen_ai.token.type": kind})
        self._duration.record(ended.over - ended.started, said)
        if billed := ended.closed.spent + ended.closed.uncertain:
            self._cost.add(billed.nano, said)

    def declined(self, declined: Declined) -> None:
        """Count it."""
        self._refusals.add(1, {"crewcap.refusal.kind": declined.kind})

    async def stop(self) -> None:
        """Send what is left; a receiver that does not take it in time does not get it."""
        ending = threading.Thread(target=self._flush, name="crewcap-telemetry-end", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, STOP_S)

    def _flush(self) -> None:
        for each in self._providers:
            try:
                each.force_flush(STOP_S * 1_000)
                each.shutdown()
            except Exception:
                log.exception("telemetry could not be ended properly")

    def _span(self, ended: Ended, said: Mapping[str, Any]) -> None:
        """One that begins and ends in the past: nothing of it is needed while the request runs."""
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415  (an extra)

        now, mono = time.time_ns(), time.monotonic()
        name = f"{said['gen_ai.operation.name']} {said['gen_ai.request.model']}"
        span = self._tracer.start_span(
            name,
            kind=SpanKind.CLIENT,
            attributes={**said, **_of_one(ended)},
            start_time=now - int((mono - ended.started) * 1e9),
        )
        if error := said.get("error.type"):
            span.set_status(Status(StatusCode.ERROR, f"{error} {ended.closed.reason}".strip()))
        span.end(now - int((mono - ended.over) * 1e9))


def _common(ended: Ended) -> dict[str, Any]:
    """What spans and measurements share; few values, none of a client's making."""
    request, closed = ended.request, ended.closed
    prices = request.provider.prices
    said = {
        "gen_ai.operation.name": _OPERATIONS.get(request.dialect.name, "chat"),
        "gen_ai.provider.name": _PROVIDERS.get(prices, prices),
        "gen_ai.request.model": model_of(request),
        "crewcap.provider": request.provider.name,
    }
    if closed.model:
        said["gen_ai.response.model"] = closed.model
    if ended.end != "complete":
        said["error.type"] = str(ended.status) if ended.status >= 400 else ended.end
    return said


def _of_one(ended: Ended) -> dict[str, Any]:
    """What is this attempt's own, for its span alone."""
    request, closed, usage = ended.request, ended.closed, ended.closed.usage
    said: dict[str, Any] = {
        "gen_ai.request.max_tokens": ended.sent.output_limit,
        "gen_ai.usage.input_tokens": usage.prompt,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": usage.write_5m + usage.write_1h,
        "crewcap.cost_usd": closed.spent.nano / 1e9,  # for people and charts; sums are made of the next one
        "crewcap.cost_nano_usd": closed.spent.nano,
        "crewcap.uncertain_nano_usd": closed.uncertain.nano,
        "crewcap.notional_nano_usd": closed.notional.nano,
        "crewcap.held_nano_usd": ended.sent.held.nano,
        "crewcap.end": ended.end,
        "crewcap.attempt": ended.attempt,
        "crewcap.key": request.key.id,
    }
    texts = {
        "gen_ai.response.id": closed.request_id,
        "gen_ai.agent.id": request.agent,
        "crewcap.run": request.key.run,
        "crewcap.price_book": closed.card,
        "crewcap.incident": closed.incident,
    }
    if ended.reading.stop_reason:
        said["gen_ai.response.finish_reasons"] = (ended.reading.stop_reason,)
    if ended.first_byte is not None:
        said["crewcap.first_byte_s"] = ended.first_byte - ended.started
    if ended.status:
        said["http.response.status_code"] = ended.status
    return {**said, **{name: text for name, text in texts.items() if text}}


def _resource(environ: Mapping[str, str]) -> Any:
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  (an extra)

    named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create({"service.version": __version__, **({} if named else {"service.name": "crewcap"})})


def _tracing(environ: Mapping[str, str]) -> TracerProvider | None:
    if not _wants(environ, TRACES):
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  (an extra)
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=_resource(environ), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _metering(environ: Mapping[str, str]) -> MeterProvider | None:
    if not _wants(environ, METRICS):
        return None
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415  (an extra)
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415

    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    return MeterProvider([reader], resource=_resource(environ), shutdown_on_exit=False)


def _wants(environ: Mapping[str, str], names: Sequence[str]) -> bool:
    return any(environ.get(name) for name in names)
