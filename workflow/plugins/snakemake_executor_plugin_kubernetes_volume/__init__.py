"""Snakemake's Kubernetes executor for a checkout on a volume that all pods mount.

The executor it builds on takes it that pods share no files: each would start in an empty folder and copy every input
from a storage provider, and back. The stages here record themselves in the checkout's DVC cache and dvc.lock, so their
pods must see the checkout. This executor says that files are shared, and starts each pod's command in the checkout;
all else, its options too (--kubernetes-volume-...), is as there.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_kubernetes import Executor as PodExecutor
from snakemake_executor_plugin_kubernetes import ExecutorSettings
from snakemake_interface_executor_plugins.settings import CommonSettings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=False,  # they go as a secret
    auto_deploy_default_storage_provider=False,
)


class Executor(PodExecutor):  # type: ignore[misc]
    """Pods that work in the checkout, at the path that it has here."""

    def get_job_exec_prefix(self, job: Any) -> str:
        """The command that each pod starts with."""
        return f"cd {shlex.quote(str(Path.cwd()))}"
