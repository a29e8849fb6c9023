"""Open one backend on the device: `python -m gpu_check.probe cuda cupy`. A process of its own, which frees the GPU."""

import json
import sys

from lagvis.backends.registry import select
from lagvis.errors import DeviceError


def main() -> int:
    """Print a JSON object: device and versions of the backend, or the reason why it cannot compute."""
    device, name = sys.argv[1:]
    try:
        backend = select(device, name)
        found = {"device": backend.device, "versions": backend.versions()}
    except DeviceError as error:
        found = {"reason": str(error)}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
