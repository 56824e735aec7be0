"""The Kubernetes profile: planned without a cluster, and its pods' commands run by a stand-in for the API server."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

# not locked, for every start of Snakemake would load it
pytest.importorskip("snakemake_executor_plugin_kubernetes", reason="snakemake-executor-plugin-kubernetes is missing")

sys.path.insert(0, str(Path(__file__).parent))
from pipeline_project import Project
from pods import container_environment, serving

pytestmark = pytest.mark.slow
PROFILE = "workflow/profiles/kubernetes"
PATHS = "src:workflow/plugins"
GPU_JOBS = ["encode", "encode", "features", "train", "train"]
IN_PODS = 14 - 3  # download (two files) and report run beside Snakemake


def test_a_dry_run_needs_no_cluster_and_plans_one_gpu_for_each_gpu_job(fresh):
    plan = fresh.run(
        "snakemake", "-n", "--workflow-profile", PROFILE, PYTHONPATH=PATHS, KUBECONFIG=str(fresh.root / "none")
    )
    jobs = (plan.stdout + plan.stderr).split("\nrule ")[1:]
    assert sorted(job.split(":")[0] for job in jobs if "gpu=1" in job) == GPU_JOBS
    assert all("gpu_manufacturer=nvidia" in job and "scale=0" in job for job in jobs if "gpu=1" in job)


def test_the_pipeline_runs_in_pods_that_find_the_project_on_their_volume(fresh, tmp_path):
    fresh = Project(fresh.root)
    fresh.edit(f"{PROFILE}/config.yaml", "YOUR_CLAIM:/YOUR_VOLUME", f"projects:{fresh.root.parent}")
    fresh.edit(f"{PROFILE}/config.yaml", "YOUR_IMAGE", "python:3.11")
    with serving(tmp_path, container_environment(fresh)) as (pods, config):
        quick = ["--seconds-between-status-checks", "1", "--jobs", "4"]
        done = fresh.run(
            "snakemake", "--workflow-profile", PROFILE, *quick, PYTHONPATH=PATHS, KUBECONFIG=str(config), ok=False
        )
    assert done.returncode == 0, done.stdout + done.stderr + fresh.logs()
    assert fresh.dvc_status() == {}
    assert len(fresh.ran()) == 14
    assert len(pods.bodies) == IN_PODS
    containers = [body["spec"]["template"]["spec"]["containers"][0] for body in pods.bodies.values()]
    assert {container["image"] for container in containers} == {"python:3.11"}
    mounts = {mount["name"]: mount["mountPath"] for container in containers for mount in container["volumeMounts"]}
    assert mounts["projects"] == str(fresh.root.parent)
    gpus = [
        re.search(r"--allowed-rules '?(\w+)", container["args"][1])[1]
        for container in containers
        if container["resources"]["limits"].get("nvidia.com/gpu") == "1"
    ]
    assert sorted(gpus) == GPU_JOBS
