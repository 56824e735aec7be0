# The facts of dvc.yaml and params.yaml, checked once, and the one rule that all others are made from.

import sys

from itm.errors import ProjectError
from itm.orchestration.devices import gpus_of_job
from itm.orchestration.start import start

try:
    parameters, pipeline = start(sys.argv, workflow.basedir, config)
except ProjectError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    **pipeline.constraints(),


# A stage runs as DVC would run it, then DVC is told of this one stage (never of the whole pipeline: that
# would declare stages up to date that did not run).
rule stage:
    log:
        "logs/stage.log",
    shell:
        "touch {log}.started\n"
        "( {params.command} ) > {log} 2>&1\n"
        "PYTHONPATH=src python -m itm.orchestration.record {params.name}"
        " --fingerprint {params.fingerprint} --since {log}.started >> {log} 2>&1"
