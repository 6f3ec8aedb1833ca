"""Time networks on this machine for clients elsewhere.

The machine becomes the target tcp://HOST:PORT of whoever has the token. One measurement runs at a time. What
is sent is not encrypted: across networks that others use, let ssh start the agent (target ssh://USER@HOST,
which runs nas agent --stdio here).

Example:
  nas agent --port 7000 --host 0.0.0.0 --token-file token.txt
  nas agent --stdio
"""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from nas.cli.arguments import natural
from nas.errors import TargetError

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: ArgumentParser) -> None:
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--port", type=natural, help="to listen on; 0 takes a free one and tells it on stderr")
    way.add_argument("--stdio", action="store_true", help="answer one client over stdin and stdout, for ssh")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine alone)"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="the secret text that clients must know"
    )


def execute(arguments: Namespace) -> None:
    from nas.latency.agent import Agent, serve_stdio

    if arguments.stdio:
        with os.fdopen(os.dup(1), "wb") as answers, _until_stopped():
            os.dup2(2, 1)  # whatever else is printed must not come between the answers
            serve_stdio(sys.stdin.buffer, answers)
        return
    token = "" if arguments.token_file is None else _token(arguments.token_file)
    agent = Agent(arguments.host, arguments.port, token)
    host, port = agent.address
    with _until_stopped(), closing(agent):
        print(f"listening on {host}:{port}", file=sys.stderr, flush=True)
        agent.serve()


@contextmanager
def _until_stopped() -> Iterator[None]:
    """End well on SIGTERM and on Ctrl-C; while a measurement still runs, a second one ends at once."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        yield
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise TargetError(f"--token-file must be a text file, but got: {error}; write one") from error
    if not token:
        raise TargetError(f"--token-file must hold a secret, but {path} is empty; write a long random word")
    return token
