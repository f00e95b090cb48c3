"""Tiny packages, made by the tests and served by an index of theirs: a Python wheel and an npm package."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping

WHEEL = "hello_crewcap-1.0-py3-none-any.whl"


def python_index() -> Mapping[str, tuple[str, bytes]]:
    """The pages of a package index with one package; its file lies below /files."""
    wheel = _wheel()
    digest = hashlib.sha256(wheel).hexdigest()
    listing = f'<!DOCTYPE html><html><body><a href="/files/{WHEEL}#sha256={digest}">{WHEEL}</a></body></html>'
    return {
        "/simple/hello-crewcap/": ("text/html", listing.encode()),
        f"/files/{WHEEL}": ("application/octet-stream", wheel),
    }


def npm_registry(origin: str) -> Mapping[str, tuple[str, bytes]]:
    """The pages of an npm registry with one package."""
    package = _npm_package()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode()
    version = {
        "name": "hello-crewcap",
        "version": "1.0.0",
        "dist": {"tarball": f"{origin}/hello-crewcap/-/hello-crewcap-1.0.0.tgz", "integrity": integrity},
    }
    listing = {"name": "hello-crewcap", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    return {
        "/hello-crewcap": ("application/json", json.dumps(listing).encode()),
        "/hello-crewcap/-/hello-crewcap-1.0.0.tgz": ("application/octet-stream", package),
    }


def _wheel() -> bytes:
    info = "hello_crewcap-1.0.dist-info"
    files = {
        "hello_crewcap.py": 'SAID = "hello from the index"\n',
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: hello-crewcap\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: crewcap\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, content)
    return made.getvalue()


def _npm_package() -> bytes:
    files = {
        "package/package.json": json.dumps({"name": "hello-crewcap", "version": "1.0.0", "main": "index.js"}),
        "package/index.js": 'module.exports = "hello from the registry";\n',
    }
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content.encode()))
    return made.getvalue()
