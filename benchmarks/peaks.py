"""The most memory this process held. Without torch, so that a test can afford a process of its own."""

import re
import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak() -> int:
    """Bytes held at most since this program began.

    On Linux that is VmHWM: `ru_maxrss` survives fork and exec, so a small process started by a large one would show the large one's.
    Elsewhere it is `ru_maxrss`, which macOS counts in bytes and others in kilobytes.
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE) if STATUS.exists() else None
    if found:
        return 1024 * int(found[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
