# From the source to tables, scores and the features of frozen towers.


use rule stage as download with:
    input:
        pipeline.inputs("download"),
    output:
        pipeline.outputs("download"),
    log:
        "logs/download/{file}.log",
    benchmark:
        "logs/download/{file}.tsv"
    params:
        **pipeline.facts("download"),


use rule stage as clean with:
    input:
        pipeline.inputs("clean"),
    output:
        pipeline.outputs("clean"),
    log:
        "logs/clean.log",
    benchmark:
        "logs/clean.tsv"
    params:
        **pipeline.facts("clean"),


use rule stage as score with:
    input:
        pipeline.inputs("score"),
    output:
        pipeline.outputs("score"),
    log:
        "logs/score.log",
    benchmark:
        "logs/score.tsv"
    params:
        **pipeline.facts("score"),


use rule stage as features with:
    input:
        pipeline.inputs("features"),
    output:
        pipeline.outputs("features"),
    log:
        "logs/features.log",
    benchmark:
        "logs/features.tsv"
    threads: parameters.train.threads
    resources:
        gpu=gpus_of_job(parameters.device),
        mem_mb=8000,
        runtime=120,
    params:
        **pipeline.facts("features"),
