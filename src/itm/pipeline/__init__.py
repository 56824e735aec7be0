"""One DAG, two runners: dvc.yaml, how its jobs start and are recorded, what results are made of, and who computes."""
