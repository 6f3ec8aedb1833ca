"""Show a bundle in the browser: draw an image, turn the dial, watch the governor turn it.

The page runs the networks of the bundle itself, in WebAssembly; nothing leaves this machine. It is served
until Ctrl-C.

Example:
  nas demo runs/d/bundle --data digits
  nas demo bundle.zip --port 0 --open
"""

from __future__ import annotations

import signal
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.cli.arguments import natural
from nas.data import load_data

if TYPE_CHECKING:
    from nas.web.server import Samples

__all__ = ["add_arguments", "execute"]

SAMPLES = 20  # what fits on a page
PORT = 8000


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder or zip that nas export wrote")
    parser.add_argument("--data", help="offer images from the test part of data, such as digits")
    parser.add_argument(
        "--port", type=natural, default=PORT, help=f"to serve on (default {PORT}); 0 takes a free one"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser of this machine")


def execute(arguments: Namespace) -> None:
    import webbrowser

    from nas.web import serve

    samples = _samples(arguments.data) if arguments.data else None
    with _until_stopped(), serve(arguments.bundle, port=arguments.port, samples=samples) as server:
        print(server.url, flush=True)
        if arguments.open:
            webbrowser.open(server.url)
        server.wait()


@contextmanager
def _until_stopped() -> Iterator[None]:
    """End well on Ctrl-C, and on SIGTERM."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _samples(spec: str) -> Samples:
    """Images of all classes in turn, as far as there are enough."""
    data = load_data(spec)
    by_class = [np.flatnonzero(data.y_test == label) for label in range(data.num_classes)]
    turns = max(map(len, by_class), default=0)
    order = [rows[turn] for turn in range(turns) for rows in by_class if turn < len(rows)]
    chosen = order[:SAMPLES]
    return data.x_test[chosen], data.y_test[chosen]
