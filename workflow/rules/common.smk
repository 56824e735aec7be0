# The facts of dvc.yaml and params.yaml, checked once, and the one rule that all others are made from.

import sys

from itm.errors import ProjectError
from itm.pipeline.devices import gpus_of_job
from itm.pipeline.start import start

try:
    parameters, pipeline = start(sys.argv, workflow.basedir, config)
except ProjectError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    **pipeline.constraints(),


# A stage runs as DVC would run it: not at all if DVC has its results, else its command, then DVC is told of
# this one stage. With --force, --forceall or --forcerun the command always runs.
rule stage:
    log:
        "logs/stage.log",
    shell:
        "PYTHONPATH=src python -m itm.pipeline.run {params.name:q} --fingerprint {params.fingerprint}"
        " {params.command:q} > {log:q} 2>&1"
