"""Finds a target by a short text: local, tcp://HOST:PORT, ssh://USER@HOST, browser:NAME or recorded:FILE."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

from nas.errors import TargetError
from nas.latency.engine import Engine, OnnxRuntime
from nas.latency.local import LocalTarget
from nas.latency.openvino import OpenVino
from nas.latency.quantized import Int8
from nas.latency.target import Target

__all__ = ["absolute_spec", "engine_of", "open_target"]

_ENGINES: Mapping[str, Callable[[int], Engine]] = MappingProxyType(
    {"onnxruntime": OnnxRuntime, "openvino": OpenVino}
)


def engine_of(name: str, threads: int) -> Engine:
    """The engine of that name with so many threads."""
    return _ENGINES[_one_of(name, "engine", tuple(_ENGINES))](threads)


def open_target(text: str, *, threads: int = 1, tell: Callable[[str], None] | None = None) -> Target:
    """The target that `text` names; `threads` holds where the text does not say how many.

    `tell` is told what a person has to do, such as to open a page.

    * `local`: this machine;
    * `tcp://HOST:PORT`: a machine on which `nas agent` listens;
    * `ssh://USER@HOST`: a machine on which ssh starts the agent;
    * `browser:NAME`: onnxruntime-web in that browser, such as `browser:chromium`;
    * `recorded:FILE`: what was measured before.

    Options follow, as in `local,threads=2,precision=int8,engine=openvino`. The token for tcp stands in the
    file of `token-file=PATH`, else in the environment variable NAS_AGENT_TOKEN.
    """
    head, *settings = text.split(",")
    for scheme in _SCHEMES:
        place = head.removeprefix(scheme.prefix)
        if head.startswith(scheme.prefix) and bool(place) == bool(scheme.place):
            options = replace(_read_options(scheme, settings, threads), tell=tell)
            target = scheme.open(place, options)
            return Int8(target) if options.precision == "int8" else target
    forms = ", ".join(scheme.prefix + scheme.place for scheme in _SCHEMES)
    raise TargetError(f"a target must be one of {forms}, but got {head!r}; name one of these")


def absolute_spec(text: str) -> str:
    """A text for the same target wherever it is read: its paths made absolute."""
    head, *settings = text.split(",")
    parts = [_with_absolute(head, "recorded:")]
    return ",".join([*parts, *(_with_absolute(setting, "token-file=") for setting in settings)])


def _with_absolute(part: str, prefix: str) -> str:
    path = part.removeprefix(prefix)
    return f"{prefix}{Path(path).expanduser().absolute()}" if path and path != part else part


@final
@dataclass(frozen=True, kw_only=True)
class _Options:
    threads: int
    precision: str = "fp32"
    engine: str = "onnxruntime"
    token_file: Path | None = None
    tell: Callable[[str], None] | None = None


@final
@dataclass(frozen=True, kw_only=True)
class _Scheme:
    prefix: str
    place: str
    """What follows the prefix, in words."""
    options: tuple[str, ...]
    open: Callable[[str, _Options], Target]


def _read_options(scheme: _Scheme, settings: Sequence[str], threads: int) -> _Options:
    values: dict[str, Any] = {"threads": threads}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in scheme.options:
            raise TargetError(
                f"options of {scheme.prefix}{scheme.place} must be among "
                f"{', '.join(scheme.options) or '(none)'}, but got {setting!r}; leave it out"
            )
        values[name.replace("-", "_")] = _READERS[name](value)
    return _Options(**values)


def _one_of(value: str, what: str, known: Sequence[str]) -> str:
    if value not in known:
        raise TargetError(f"{what} must be {' or '.join(known)}, but got {value!r}; name one of these")
    return value


def _number(value: str) -> int:
    if not (value.isdecimal() and int(value)):
        raise TargetError(f"threads must be at least 1, but got {value!r}; give a number of cores")
    return int(value)


_READERS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "threads": _number,
        "precision": partial(_one_of, what="precision", known=("fp32", "int8")),
        "engine": partial(_one_of, what="engine", known=tuple(_ENGINES)),
        "token-file": lambda value: Path(value).expanduser(),
    }
)


def _open_local(place: str, options: _Options) -> Target:
    return LocalTarget(options.threads, engine_of(options.engine, options.threads))


def _open_tcp(place: str, options: _Options) -> Target:
    host, _, port = place.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise TargetError(
            f"tcp:// must be followed by HOST:PORT with a port of 1 to 65535, but got {place!r}; "
            "give the port on which the agent listens"
        )
    token = _token(options.token_file)
    from nas.latency.remote import RemoteTarget

    return RemoteTarget.tcp(
        host.strip("[]"), int(port), token, threads=options.threads, engine=options.engine
    )


def _token(path: Path | None) -> str:
    if path is None:
        return os.environ.get("NAS_AGENT_TOKEN", "")
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(
            f"{path} must be a readable file with the agent's token, but got: {error}; name another"
        ) from error


def _open_ssh(place: str, options: _Options) -> Target:
    from nas.latency.remote import RemoteTarget

    return RemoteTarget.ssh(place, threads=options.threads, engine=options.engine)


def _open_browser(place: str, options: _Options) -> Target:
    from nas.latency.browser import BrowserTarget

    target = BrowserTarget(place, threads=options.threads)
    if place == "open" and options.tell:
        options.tell(f"open {target.url} in the browser that is to be measured")
    return target


def _open_recorded(place: str, options: _Options) -> Target:
    from nas.latency.recorded import RecordedTarget

    return RecordedTarget.load(Path(place).expanduser())


_RUNTIME = ("threads", "precision", "engine")
_SCHEMES = (
    _Scheme(prefix="local", place="", options=_RUNTIME, open=_open_local),
    _Scheme(prefix="tcp://", place="HOST:PORT", options=(*_RUNTIME, "token-file"), open=_open_tcp),
    _Scheme(prefix="ssh://", place="USER@HOST", options=_RUNTIME, open=_open_ssh),
    _Scheme(prefix="browser:", place="NAME", options=("threads", "precision"), open=_open_browser),
    _Scheme(prefix="recorded:", place="FILE", options=(), open=_open_recorded),
)
