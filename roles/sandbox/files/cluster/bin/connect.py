"""connect.py SOCKET: hand ssh (ProxyCommand with ProxyUseFdpass) a connection to the login node."""

from __future__ import annotations

import array
import socket
import sys

connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect(sys.argv[1])
except PermissionError:
    sys.exit(f"{sys.argv[1]} belongs to another user: whoever brought the sandbox up, and root")
except OSError as error:
    sys.exit(f"The sandbox is not up ({sys.argv[1]}: {error.strerror}). Run: mnrun sandbox up")
descriptors = array.array("i", [connection.fileno()])
with socket.socket(fileno=1) as ssh:
    ssh.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
