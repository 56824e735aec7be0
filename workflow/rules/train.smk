# Descriptions for every method, a model for every method and seed, what it makes of the evaluation split, and what its similarities mean.


# Only descriptions that are written and encoded need a device; for other methods the stage writes empty files.
describers = {
    name: gpus_of_job(parameters.device)
    for name in parameters.methods
    if parameters.method[name].add.descriptions
}


use rule stage as describe with:
    input:
        pipeline.inputs("describe"),
    output:
        pipeline.outputs("describe"),
    log:
        "logs/describe/{method}.log",
    benchmark:
        "logs/describe/{method}.tsv"
    threads: parameters.train.threads
    resources:
        gpu=lambda wildcards: describers.get(wildcards.method, 0),
        mem_mb=16000,
        runtime=720,
    params:
        **pipeline.facts("describe"),


use rule stage as train with:
    input:
        pipeline.inputs("train"),
    output:
        pipeline.outputs("train"),
    log:
        "logs/train/{method}-{seed}.log",
    benchmark:
        "logs/train/{method}-{seed}.tsv"
    threads: parameters.train.threads
    resources:
        gpu=gpus_of_job(parameters.device),
        mem_mb=16000,
        runtime=720,
    params:
        **pipeline.facts("train"),


use rule stage as encode with:
    input:
        pipeline.inputs("encode"),
    output:
        pipeline.outputs("encode"),
    log:
        "logs/encode/{method}-{seed}.log",
    benchmark:
        "logs/encode/{method}-{seed}.tsv"
    threads: parameters.train.threads
    resources:
        gpu=gpus_of_job(parameters.device),
        mem_mb=8000,
        runtime=60,
    params:
        **pipeline.facts("encode"),


use rule stage as grade with:
    input:
        pipeline.inputs("grade"),
    output:
        pipeline.outputs("grade"),
    log:
        "logs/grade/{method}-{seed}.log",
    benchmark:
        "logs/grade/{method}-{seed}.tsv"
    params:
        **pipeline.facts("grade"),
