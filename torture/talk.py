"""How each family's clients ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

OUTPUT = 900


@dataclass(frozen=True, slots=True)
class Talk:
    """One way of asking: a family and one of its paths."""

    name: str
    family: str
    model: str

    def request(self, *, stream: bool, text: str) -> tuple[str, dict[str, Any]]:
        """Path and body."""
        match self.name:
            case "anthropic":
                messages = [{"role": "user", "content": text}]
                return "/v1/messages", {
                    "model": self.model,
                    "max_tokens": OUTPUT,
                    "messages": messages,
                    "stream": stream,
                }
            case "openai-responses":
                body = {"model": self.model, "input": text, "max_output_tokens": OUTPUT, "stream": stream}
                return "/v1/responses", body
            case "openai-chat":
                messages = [{"role": "user", "content": text}]
                limit = {"max_completion_tokens": OUTPUT}
                return "/v1/chat/completions", {
                    "model": self.model,
                    "messages": messages,
                    "stream": stream,
                    **limit,
                }
            case _:
                method = "streamGenerateContent?alt=sse" if stream else "generateContent"
                contents = [{"role": "user", "parts": [{"text": text}]}]
                config = {"maxOutputTokens": OUTPUT, "thinkingConfig": {"thinkingBudget": 0}}
                return f"/v1beta/models/{self.model}:{method}", {"contents": contents, "generationConfig": config}

    def headers(self, key: str) -> dict[str, str]:
        """Where this family's clients put the key."""
        match self.family:
            case "anthropic":
                return {"x-api-key": key, "anthropic-version": "2023-06-01"}
            case "openai":
                return {"authorization": f"Bearer {key}"}
            case _:
                return {"x-goog-api-key": key}


TALKS = (
    Talk("anthropic", "anthropic", "claude-sonnet-4-6"),
    Talk("openai-responses", "openai", "gpt-5.1"),
    Talk("openai-chat", "openai", "gpt-5.1"),
    Talk("gemini", "gemini", "gemini-2.5-flash"),
)
