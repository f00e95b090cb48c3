"""What crewcap knows of the Gemini API, as data: everything a body may hold whose cost is understood.

A member of these lists passes. An unknown top-level field, kind of part or kind of tool is refused for capped keys,
with the settings line that would let it pass. Unknown keys *inside* a known block pass.

The API takes every field in two spellings, `maxOutputTokens` and `max_output_tokens`; the names here are the first.

Checked against the vendor's SDK google-genai 3.4.0 and against what Gemini CLI 0.61.0 sends (`tests/wire/recorded`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

FIELDS = frozenset(
    {
        "contents",
        "generationConfig",
        "labels",
        "model",
        "safetySettings",
        "serviceTier",
        "store",
        "systemInstruction",
        "toolConfig",
        "tools",
    }
)

COSTLY_FIELDS: Mapping[str, str] = {
    "cachedContent": "brings input that is not in the body",
    "continuationToken": "goes on from an answer that is not in the body",
}
"""Fields whose input is not in the body. Where they are allowed, the whole context window is held."""

COUNT_FIELDS = frozenset({"contents", "generationConfig", "systemInstruction", "toolConfig", "tools"})
"""What is put into a count call: whatever may become a part of the prompt."""

NOT_IN_THE_PROMPT = frozenset({"labels", "model", "safetySettings", "serviceTier", "store"})

CONFIG = frozenset(
    {
        "candidateCount",
        "maxOutputTokens",
        "modelSelectionConfig",
        "routingConfig",
        "thinkingConfig",
    }
)
"""Members of `generationConfig` that are read here; all others change no cost."""

SCHEMA = re.compile(r"_?response_?(?:json_?)?(?:schema|format)\Z", re.IGNORECASE)
"""Members of `generationConfig` that may be shown to the model."""

OTHER_MODELS: Mapping[str, str] = {
    "modelSelectionConfig": "leaves it to the provider which model runs",
    "routingConfig": "leaves it to the provider which model runs",
}

THINKING = frozenset({"includeThoughts", "thinkingBudget", "thinkingLevel"})

DOES_NOT_THINK = re.compile(r"gemini-(?:1\.[05]-[a-z0-9-]+|2\.0-flash(?:-lite)?(?:-\d{3})?)\Z")
"""Models without thinking. Every other one is held as if it thought, until the request says that it does not."""

Part = Literal["text", "media", "result", "outside", "window", "resolution", "processing", "mark"]

PARTS: Mapping[str, Part] = {
    "text": "text",
    "codeExecutionResult": "text",
    "executableCode": "text",
    "functionCall": "text",
    "functionResponse": "result",  # text, with media inside
    "inlineData": "media",
    "fileData": "outside",
    # what a tool of the provider left behind there: its size is not the body's
    "toolCall": "window",
    "toolResponse": "window",
    # said of the part beside them
    "audioMetadata": "mark",
    "audioTranscription": "mark",
    "documentMetadata": "mark",
    "mediaProcessing": "processing",
    "mediaResolution": "resolution",
    "partMetadata": "mark",
    "speechMetadata": "mark",
    "spreadsheetMetadata": "mark",
    "thought": "mark",
    "thoughtSignature": "mark",
    "videoMetadata": "mark",
}

IMAGES = frozenset({"image/heic", "image/heif", "image/jpeg", "image/png", "image/webp"})
"""Media that are one picture. All others (documents, sound, film) can fill the window, whatever their bytes."""

DOCUMENT = re.compile(r"application/pdf\Z|text/")
"""Media of words and pictures, without sound."""

IMAGE_APART = frozenset({"cache_image_read_token", "input_image_token"})
MEDIA_APART = IMAGE_APART | {
    "cache_audio_read_token",
    "cache_video_read_token",
    "input_audio_token",
    "input_video_token",
}
"""What price lists call the tokens of pictures, sound and film, where these have a price of their own."""


class Tool(NamedTuple):
    """A kind of tool that is not simply declared for the client to run."""

    why: str
    uses: int | None = None  # most uses in one request, where the provider documents a bound
    is_run_by_client: bool = False


_RUNS = "lets the provider run the model more than once in one request"

DECLARED = frozenset({"functionDeclarations"})
"""Tools that the client runs and defines."""

TOOLS: Mapping[str, Tool] = {
    "codeExecution": Tool(_RUNS),
    "computerUse": Tool("adds definitions that are not in the body", is_run_by_client=True),
    "enterpriseWebSearch": Tool(_RUNS),
    "exaAiSearch": Tool(_RUNS),
    "fileSearch": Tool(_RUNS),
    "googleMaps": Tool(_RUNS),
    "googleSearch": Tool(_RUNS),
    "googleSearchRetrieval": Tool(_RUNS),
    "mcpServers": Tool(_RUNS),
    "parallelAiSearch": Tool(_RUNS),
    "retrieval": Tool(_RUNS),
    "urlContext": Tool("brings input that is not in the body", uses=20),  # addresses in one request, as documented
}
"""Only `urlContext` has a bound on its uses. The others have none, so they stay refused on capped keys."""

TIERS: Mapping[str, str] = {
    "": "standard",
    "on_demand": "standard",
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
    "traffic_type_unspecified": "standard",
    "unspecified": "standard",
}
"""How answers name a tier, besides by its own name."""

SEARCHES_BILLED_ONCE = re.compile(r"gemini-(?:1\.|2\.)")
"""Models with which a grounded answer costs one fee, however often it searched; later ones cost a fee each time."""
