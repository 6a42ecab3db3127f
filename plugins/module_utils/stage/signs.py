"""What lines of a log prove about the end of an attempt, by the names of the causes."""

from __future__ import annotations

import re

from ..trainer.telling import OPTION_ERROR

# What a single line can prove, the most certain first.
SURE = (
    ("QUOTA", re.compile(r"Disk quota exceeded|\[Errno 122\]")),
    ("DISK", re.compile(r"No space left on device|\[Errno 28\]")),
    (
        "GPU_MEMORY",
        re.compile(
            r"(?:CUDA|HIP)(?: error:)? out of memory|torch\.(?:cuda\.)?OutOfMemoryError"
            r"|No available memory for the cache blocks|CUBLAS_STATUS_ALLOC_FAILED"
        ),
    ),
    (
        "GPU",
        re.compile(
            r"[Uu]ncorrectable (?:NVLink|ECC) error|\bXid\b.{0,30}\d|GPU has fallen off the bus"
            r"|\bGPU is lost"
        ),
    ),
    (
        "MEMORY",
        re.compile(
            r"oom[-_ ]kill|Out Of Memory|\bMemoryError\b|Cannot allocate memory"
            r"|DefaultCPUAllocator: (?:can't allocate|not enough) memory"
            r"|ray\.exceptions\.OutOfMemoryError|node running low on memory"
            r"|DataLoader worker \([^)]{1,40}\) is killed by signal: (?:Killed|Bus error)"
            r"|excessive memory usage"
        ),
    ),
)
# Only in the telling line: elsewhere they are often harmless (a warning that there is no GPU).
TELLING = (
    (
        "IMPORT",
        re.compile(r"\b(?:ModuleNotFoundError|ImportError)\b|: command not found$|No module named"),
    ),
    ("OPTION", OPTION_ERROR),
    ("KILLED", re.compile(r"^Signal 9 \(SIGKILL\)|: line \d+: +\d+ Killed\b")),
    (
        "GPU_BUILD",
        re.compile(
            r"no kernel image is available|Torch not compiled with CUDA enabled|is not compatible "
            r"with the current PyTorch installation|driver version is insufficient"
            r"|driver on your system is too old|unsupported toolchain|PTX JIT compil"
            r"|forward compatibility was attempted"
        ),
    ),
    (
        "GPU",
        re.compile(
            r"No available (?:nccl|rccl|cuda) backend found|no CUDA-capable device"
            r"|cudaError(?:NoDevice|DevicesUnavailable|SystemNotReady)|CUDA_ERROR_(?:NO_DEVICE"
            r"|SYSTEM_NOT_READY)|device\(s\) is/are busy or unavailable"
            r"|No (?:CUDA|HIP) GPUs are available|Found no NVIDIA driver|CUDA unknown error"
            r"|CUDA driver initialization failed|(?:CUDA|HIP) error: (?:invalid device ordinal"
            r"|initialization error|system not yet initialized|all CUDA-capable devices"
            r"|unknown error|hardware|OS call failed)|Unexpected error from cudaGetDeviceCount"
            r"|Driver/library version mismatch|Unable to determine the device handle"
            r"|NVML: .{0,40}(?:Unknown Error|Not Found|failed)"
            r"|couldn't communicate with the NVIDIA driver"
            r"|^NodeError: \S+: (?:torch sees \d+ GPUs|torch cannot use GPU \d+: |GPU \d+: )"
        ),
    ),
    (
        "GPU_PROGRAM",
        re.compile(
            r"device-side assert|illegal memory access|misaligned address"
            r"|cudaError(?:Assert|IllegalAddress|LaunchFailure)\b|unspecified launch failure"
            r"|illegal instruction was encountered"
            r"|the launch timed out and was terminated|HSA_STATUS_ERROR"
        ),
    ),
)
# What the driver says of the hardware itself, for which a program then gets errors as of its own.
BROKEN_GPU = re.compile(
    r"[Uu]ncorrectable (?:NVLink|ECC) error|GPU has fallen off the bus|\bGPU is lost"
    r"|\bXid\b.{0,30}: (?:48|63|64|74|79|94|95|119|120)\b"
)
RAY_DIED = re.compile(
    r"(?:Actor(?:Died|Unavailable)|RayActor|NodeDied|WorkerCrashed|OwnerDied|LocalRayletDied)Error"
    r"|The actor (?:died|is dead)|Failed to connect to GCS|GCS.{0,40}(?:is down|unavailable)"
    r"|raylet.{0,60}(?:died|marked dead)"
)
NETWORK = re.compile(
    r"DistBackendError|DistNetworkError|DistStoreError|NCCL (?:error|failure)|nccl\w{1,40}Error"
    r"|Rendezvous\w{0,40}Error|\bgloo\b.{0,200}(?:closed|reset|timed out|Timeout)"
    r"|closed by peer|reset by peer"
    r"|Watchdog caught collective operation timeout|waiting for clients"
    r"|client socket has (?:timed out|failed)|^NodeError: \S+: .{0,200}\ball-reduce\b"
)
