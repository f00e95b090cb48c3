"""Variables that may not be a project's secret: they decide which program starts, what it loads and where it connects.

A secret is a value that tests read. One of these would be obeyed before any test is: by the loader, a shell, an
interpreter, git, or the agent itself, whose way to the gateway is such a variable too.
"""

from __future__ import annotations

import re

_REIGNING = re.compile(
    r"PATH|HOME|SHELL|IFS|ENV|BASH_ENV|TMPDIR|USER|LOGNAME|LANG|LC_ALL|TERM|CI"  # every program's
    r"|(?:LD|DYLD)_\w+|GCONV_PATH|LOCPATH|MALLOC_\w+|GLIBC_TUNABLES"  # the loader's
    r"|PYTHON(?:PATH|HOME|STARTUP|BREAKPOINT)|NODE_(?:OPTIONS|PATH|EXTRA_CA_CERTS|USE_ENV_PROXY)"
    r"|PERL5(?:LIB|OPT)|RUBY(?:LIB|OPT)|JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS|_JAVA_OPTIONS|GO(?:FLAGS|PROXY)|RUSTC_WRAPPER"
    r"|GIT_(?:DIR|WORK_TREE|EXEC_PATH|SSH|SSH_COMMAND|ASKPASS|EDITOR|PAGER|PROXY_COMMAND|TEMPLATE_DIR|SSL_CAINFO)"
    r"|GIT_(?:CONFIG\w*|EXTERNAL_DIFF|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|INDEX_FILE|TRACE\w*)"
    r"|SSL_CERT_(?:FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|SSH_(?:ASKPASS|AUTH_SOCK)"
    r"|(?:CARGO_|YARN_)?HTTPS?_PROXY|(?:ALL|NO|FTP|PIP)_PROXY|NPM_CONFIG_(?:HTTPS_|NO)?PROXY"  # where it connects
    r"|(?:ANTHROPIC|OPENAI|GOOGLE_GEMINI)_(?:BASE_URL|API_BASE|AUTH_TOKEN|CUSTOM_HEADERS)"
    r"|CLAUDE_CODE_\w+|CLAUDE_CONFIG_DIR|CREWCAP_\w+",  # the agent's, and ours
    re.ASCII | re.IGNORECASE,
)


def reigns(name: str) -> bool:
    """Whether programs obey this variable, so that no secret may be called so."""
    return _REIGNING.fullmatch(name) is not None
