import pytest


def test_a(reproduced):
    print(reproduced.root, reproduced.dvc_status(), reproduced.snakemake_plan())


def test_b(snaked):
    print(snaked.root, snaked.dvc_status(), snaked.snakemake_plan(), snaked.ran())
