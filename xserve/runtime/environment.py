"""The environment that an engine gets: named variables only.

What systemd or an operator hands to the daemon (sockets, watchdog, credentials, tokens) is the daemon's.
"""

from __future__ import annotations

from collections.abc import Mapping

from xserve.runtime.tree import MARK

_PASSED_ON = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR",
        "XDG_CACHE_HOME", "XDG_DATA_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH",
        "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER",
        "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
        "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    }
)  # fmt: skip


def engine_environment(inherited: Mapping[str, str], wanted: Mapping[str, str], mark: str) -> dict[str, str]:
    """The whole environment of an engine: of what we inherited the harmless part, then what was asked for."""
    passed = {name: value for name, value in inherited.items() if name in _PASSED_ON or name.startswith("LC_")}
    # Engines show a title in `ps`; without this the library that does it writes over the mark in /proc.
    return {**passed, "PYTHONUNBUFFERED": "1", "SPT_NOENV": "1", **wanted, MARK: mark}
