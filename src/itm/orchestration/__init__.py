"""One DAG, two runners: dvc.yaml as facts for Snakemake, recording and realigning, and the device picker."""
