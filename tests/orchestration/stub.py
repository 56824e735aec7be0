"""A stand-in for every stage: writes the stage's outputs at once, as a function of its parameters and data.

Started as `python -m stub.<stage> ...` in a temporary project (see conftest.py). stub.json states what
dvc.yaml says of each stage; logs/ran.txt collects the jobs that really ran.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

from ruamel.yaml import YAML


def main() -> None:
    stage = Path(sys.argv[0]).stem
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    facts = json.loads(Path("stub.json").read_text())[stage]
    item = {axis: options[f"--{axis}"] for axis in facts["axes"]}
    name = stage + ("@" + "-".join(item.values()) if item else "")
    Path("logs").mkdir(exist_ok=True)
    with Path("logs", "ran.txt").open("a") as ran:
        ran.write(name + "\n")
    if os.environ.get("STUB_FAIL") == name:
        sys.exit(f"{name}: told to fail")
    digest = hashlib.sha256(name.encode())
    parameters = YAML(typ="safe").load(Path("params.yaml"))
    for key in facts["params"]:
        value = parameters
        for part in key.format(**item).split("."):
            value = value[part]
        digest.update(json.dumps([key, value], sort_keys=True).encode())
    for path in facts["data"]:
        digest.update(Path(path.format(**item)).read_bytes())
    time.sleep(float(os.environ.get("STUB_SLEEP", "0")))
    for path in facts["outs"]:
        out = Path(path.format(**item))
        out.parent.mkdir(parents=True, exist_ok=True)
        text = digest.hexdigest() + path
        if out.suffix == ".json":
            text = json.dumps({"value": int(digest.hexdigest()[:6], 16)})
        if out.suffix == ".csv":
            text = f"epoch,train_loss\n0,{int(digest.hexdigest()[:4], 16)}\n"
        out.unlink(missing_ok=True)  # it may be a link into the cache
        out.write_text(text)


main()
