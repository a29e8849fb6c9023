"""Ask every backend for the device: `python -m gpu_check.probe cuda`. A process of its own, which frees the GPU."""

import json
import sys

from lagvis.backends.registry import BACKENDS, select
from lagvis.errors import DeviceError


def main() -> int:
    """Print a JSON object: for each backend with such a device its versions, or why it cannot compute."""
    kind = sys.argv[1]
    found: dict[str, dict[str, object]] = {}
    for name, (_, _, kinds) in BACKENDS.items():
        if kind in kinds:
            try:
                backend = select(kind, name)
                found[name] = {"device": backend.device, "versions": backend.versions()}
            except DeviceError as error:
                found[name] = {"reason": str(error)}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
