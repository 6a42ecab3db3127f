"""watch.py NODES FILE PATTERN: write to FILE when Ray's GCS registered the last of NODES nodes.

Reads the GCS's own log, which has the times: whatever else the node does delays nothing.
"""

import glob
import re
import sys
import time
from datetime import datetime
from pathlib import Path

FORM = "%Y-%m-%d %H:%M:%S,%f"
REGISTERED = re.compile(r"^\[(\S+ [\d:]+,\d+) .*Registering new node", re.MULTILINE)


def main() -> None:
    """Look each 50 ms, for five minutes at most."""
    nodes, target, pattern = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    begun, deadline = datetime.now(), time.monotonic() + 300  # noqa: DTZ005 - as in the log
    while time.monotonic() < deadline:
        for log in glob.glob(pattern, recursive=True):  # noqa: PTH207 - from the root
            try:
                text = Path(log).read_text(errors="replace")
            except OSError:
                continue  # of an earlier job, and just removed
            times = [datetime.strptime(t, FORM) for t in REGISTERED.findall(text)]  # noqa: DTZ007
            if len(times) >= nodes and times[0] > begun:  # and not of an earlier job
                target.write_text(str(times[nodes - 1].timestamp()))
                return
        time.sleep(0.05)


if __name__ == "__main__":
    main()
