# Scores of captions beyond one machine: the two passes of `itm.text.stream` as jobs over shards, for any executor.
# No part of the pipeline in dvc.yaml, which scores its own captions in one job.
#
#   snakemake -s workflow/bulk-score.smk --cores 2 --config shards=captions/ out=scored/
#   snakemake -s workflow/bulk-score.smk --workflow-profile workflow/profiles/slurm --config shards=... out=...
#
# shards   a folder of parquet files with a column text (and split, image_id), scored in the order of their names;
#          with score.document: image an image's captions must lie in one file
# out      the folder for idf.parquet and captions.parquet
# params   the parameters file; its section `score` counts (default: params.yaml)
#
# A shard of a million captions takes about 3 s a pass and 0.3 GB, so that a cluster wants ten times as many a job.

from pathlib import Path

PARAMS = config.get("params", "params.yaml")

for key in ("shards", "out"):
    if key not in config:
        raise WorkflowError(f"bulk-score: say where with --config {key}=FOLDER")
SHARDS = sorted(path.stem for path in Path(config["shards"]).glob("*.parquet"))
if not SHARDS:
    raise WorkflowError(f"bulk-score: no parquet file in {config['shards']}")


localrules:
    all,


rule all:
    default_target: True
    input:
        Path(config["out"], "captions.parquet"),


rule count:
    input:
        shard=Path(config["shards"], "{shard}.parquet"),
        params=PARAMS,
    output:
        temp(Path(config["out"], "counts", "{shard}.parquet")),
    log:
        "logs/bulk-score/count-{shard}.log",
    resources:
        mem_mb=1500,
    shell:
        "PYTHONPATH=src python -m itm.text.bulk count {input.shard:q} --params {input.params:q} --out {output:q} > {log:q} 2>&1"


rule merge:
    input:
        counts=expand(rules.count.output, shard=SHARDS),
        params=PARAMS,
    output:
        Path(config["out"], "idf.parquet"),
    log:
        "logs/bulk-score/merge.log",
    shell:
        "PYTHONPATH=src python -m itm.text.bulk merge {input.counts:q} --params {input.params:q} --out {output:q} > {log:q} 2>&1"


rule score:
    input:
        shard=rules.count.input.shard,
        idf=rules.merge.output,
    output:
        temp(Path(config["out"], "scores", "{shard}.parquet")),
    log:
        "logs/bulk-score/score-{shard}.log",
    resources:
        mem_mb=1500,
    shell:
        "PYTHONPATH=src python -m itm.text.bulk score {input.shard:q} --idf {input.idf:q} --out {output:q} > {log:q} 2>&1"


rule finish:
    input:
        scores=expand(rules.score.output, shard=SHARDS),
        idf=rules.merge.output,
    output:
        rules.all.input,
    log:
        "logs/bulk-score/finish.log",
    shell:
        "PYTHONPATH=src python -m itm.text.bulk finish {input.scores:q} --idf {input.idf:q} --out {output:q} > {log:q} 2>&1"
