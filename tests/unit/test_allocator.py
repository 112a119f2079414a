"""Return of the memory of large buffers to the system."""

import subprocess
import sys

KEPT = """
from pathlib import Path
from cdi_exporter.allocator import return_large_buffers

def resident():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])

return_large_buffers()
bytearray(30 << 20)  # freeing it would raise glibc's threshold
before = resident()
buffers, between = [], []
for _ in range(60):
    buffers.append(b"x" * (1 << 20))
    between.append(b"x" * 10_000)
used = resident() - before
buffers.clear()
print(used, resident() - before)
"""


def test_memory_of_large_buffers_goes_back_to_the_system() -> None:
    """After 60 MiB of buffers are freed, the process uses less than 4 MiB more than before."""
    command = [sys.executable, "-c", KEPT]
    used, kept = map(int, subprocess.run(command, check=True, capture_output=True).stdout.split())
    assert used > 55 * 1024
    assert kept < 4 * 1024
