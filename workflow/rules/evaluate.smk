# Every benchmark for every model, and the comparison of all.


use rule stage as evaluate with:
    input:
        pipeline.inputs("evaluate"),
    output:
        pipeline.outputs("evaluate"),
    log:
        "logs/evaluate/{method}-{seed}-{benchmark}.log",
    benchmark:
        "logs/evaluate/{method}-{seed}-{benchmark}.tsv"
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        **pipeline.facts("evaluate"),


use rule stage as report with:
    input:
        pipeline.inputs("report"),
    output:
        pipeline.outputs("report"),
    log:
        "logs/report.log",
    benchmark:
        "logs/report.tsv"
    params:
        **pipeline.facts("report"),
