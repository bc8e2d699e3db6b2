"""Where npm put Node.js and the packages; the processor is part of the name."""

import platform
from pathlib import Path

MODULES = Path(__file__).parent / "node_modules"
PROCESSOR = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
NODE = MODULES / f"node-linux-{PROCESSOR}" / "bin" / "node"
