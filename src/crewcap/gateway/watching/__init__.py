"""Those who look on: metrics, spans, log lines, and what caches save."""
