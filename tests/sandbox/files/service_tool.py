"""A small tool server beside a training: well at once, and gone when it is asked to be."""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Tool(BaseHTTPRequestHandler):
    """Answers with what it was given, and where it runs."""

    def do_GET(self) -> None:
        if self.path == "/die":
            print("KeyError: what the tool died of", flush=True)
            os._exit(7)
        names = ("SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES", "TOOL_KEY")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(" ".join(os.environ.get(name, "-") for name in names).encode())

    def log_message(self, *_parts: object) -> None:
        """Nothing of each question."""


ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Tool).serve_forever()
