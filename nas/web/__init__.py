"""A bundle in a browser: a page that draws, answers and turns its own dial, and the server that shows it."""

from nas.web.server import DemoServer as DemoServer
from nas.web.server import serve as serve

__all__ = ["DemoServer", "serve"]
