"""A stand-in for every stage: writes the stage's outputs as a function of its parameters and data.

Started as `python -m stub.<stage> ...` in a temporary project (see ../pipeline_project.py). stub.json states what
dvc.yaml says of each stage; logs/ran.txt collects the jobs that really ran. With STUB_STEP=SECONDS it takes that long
for each step, and notes the step in logs/steps.txt before: an output is written in two halves, as a step each. With
STUB_WAIT="JOB FILE" that job goes on when the file is there.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

from ruamel.yaml import YAML

from itm.data.files import atomic_path
from itm.stages.harness import guarded

STEP = float(os.environ.get("STUB_STEP", "0"))


def step(name: str, what: str) -> None:
    if STEP:
        with Path("logs", "steps.txt").open("a") as steps:
            steps.write(f"{name}\t{os.getpid()}\t{what}\n")
        time.sleep(STEP)


def main() -> None:
    stage = Path(sys.argv[0]).stem
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    facts = json.loads(Path("stub.json").read_text())[stage]
    item = {axis: options[f"--{axis}"] for axis in facts["axes"]}
    name = stage + ("@" + "-".join(item.values()) if item else "")
    parameters = YAML(typ="safe").load(Path("params.yaml"))  # before anybody hears that this runs
    Path("logs").mkdir(exist_ok=True)
    with Path("logs", "ran.txt").open("a") as ran:
        ran.write(name + "\n")
    if os.environ.get("STUB_FAIL") == name:
        sys.exit(f"{name}: told to fail")
    step(name, "begun")
    digest = hashlib.sha256(name.encode())
    for key in facts["params"]:
        value = parameters
        for part in key.format(**item).split("."):
            value = value[part]
        digest.update(json.dumps([key, value], sort_keys=True).encode())
    for path in facts["data"]:
        digest.update(Path(path.format(**item)).read_bytes())
    waiting, _, go = os.environ.get("STUB_WAIT", "").partition(" ")
    while waiting == name and not Path(go).exists():
        time.sleep(0.01)
    for path in facts["outs"]:
        out = Path(path.format(**item))
        text = digest.hexdigest() + path
        if out.suffix == ".json":
            text = json.dumps({"value": int(digest.hexdigest()[:6], 16)})
        if out.suffix == ".csv":
            text = f"epoch,train_loss\n0,{int(digest.hexdigest()[:4], 16)}\n"
        with atomic_path(out) as temporary, temporary.open("w") as file:  # out may be a link into the cache
            file.write(text[: len(text) // 2])
            file.flush()
            step(name, f"half of {out} written")
            file.write(text[len(text) // 2 :])
        step(name, f"{out} written")


with guarded(Path(sys.argv[0]).stem):
    main()
