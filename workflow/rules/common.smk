# The facts of dvc.yaml and params.yaml, checked once, and the one rule that all others are made from.

import os
import sys

import itm.config
from itm.errors import ProjectError
from itm.orchestration.dag import read_pipeline
from itm.orchestration.devices import gpus_of_job

if config:
    raise WorkflowError(
        f"--config and --configfile ({', '.join(config)}) would be seen by Snakemake only; "
        "parameters live in params.yaml: edit it, or run `itm preset NAME key=value`"
    )
try:
    parameters = itm.config.load()
    pipeline = read_pipeline()
except ProjectError as error:
    raise WorkflowError(str(error)) from None

# So that `.venv/bin/snakemake` works without an activated environment.
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]


wildcard_constraints:
    **pipeline.constraints(),


# A stage runs as DVC would run it, then DVC is told of this one stage (never of the whole pipeline: that
# would declare stages up to date that did not run).
rule stage:
    shell:
        "touch {log}.started\n"
        "( {params.command} ) > {log} 2>&1\n"
        "PYTHONPATH=src python -m itm.orchestration.record {params.name}"
        " --fingerprint {params.fingerprint} --since {log}.started >> {log} 2>&1"
