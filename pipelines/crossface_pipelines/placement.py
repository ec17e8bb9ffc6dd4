"""What a task asks of a cluster: resources, GPU pool, secrets, volumes, retries; all fixed at compile time.

Settings given at run time would need fields of the pipeline that older Kubeflow backends do not know.
"""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from crossface.config import Config

_QUANTITY = r"^\d+(\.\d+)?"
Cpu = Annotated[str, Field(pattern=_QUANTITY + r"m?$")]
"""Cores, such as ``500m`` or ``2``."""
Size = Annotated[str, Field(pattern=_QUANTITY + r"([KMGTPE]i?)?$")]
"""Bytes, such as ``4Gi``."""
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$")]
"""Name of a Kubernetes object."""
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Folder = Annotated[str, Field(pattern=r"^/[^:]*$")]

_SHARED_MEMORY = "/dev/shm"  # noqa: S108  where data loader processes hand each other batches
_SCRATCH = "/tmp"  # noqa: S108  the one folder that an image with a read-only root may write to


class Range(Config):
    """What is reserved, and what may be used at most."""

    request: str
    limit: str

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        """Kubernetes refuses a pod that reserves more than it may use."""
        from kubernetes.utils.quantity import parse_quantity

        if parse_quantity(self.request) > parse_quantity(self.limit):
            raise ValueError("request is above limit")
        return self


class CpuRange(Range):
    """Of cores."""

    request: Cpu
    limit: Cpu


class MemoryRange(Range):
    """Of memory."""

    request: Size
    limit: Size


class Gpu(Config):
    """GPUs of one node."""

    count: int = Field(ge=1, le=16)
    resource: str = Field(default="nvidia.com/gpu", pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    """The extended resource that the device plugin offers."""


class Toleration(Config):
    """Lets a pod onto nodes with this taint."""

    key: str = Field(min_length=1)
    operator: str = Field(default="Exists", pattern="^(Exists|Equal)$")
    value: str | None = None
    effect: str | None = Field(default=None, pattern="^(NoSchedule|NoExecute|PreferNoSchedule)$")

    @model_validator(mode="after")
    def _value_goes_with_equal(self) -> Self:
        if (self.value is None) == (self.operator == "Equal"):
            raise ValueError("value goes with operator Equal, and only with it")
        return self


class Retry(Config):
    """A failed attempt is repeated after ``backoff`` seconds, then ``factor`` times as long, and so on."""

    attempts: int = Field(ge=1, le=20)
    """After the first."""
    backoff_seconds: int = Field(default=60, ge=1)
    factor: float = Field(default=2.0, ge=1.0)
    longest_seconds: int = Field(default=3600, ge=1)


class Placement(Config):
    """What one step asks of a cluster."""

    cpu: CpuRange | None = None
    memory: MemoryRange | None = None
    gpu: Gpu | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    shared_memory: Size | None = None
    """Size of ``/dev/shm``, which counts as memory of the pod."""
    scratch: Size | None = None
    """Size of ``/tmp`` on the node's disk, where archives are unpacked and crops are kept during training."""
    volumes: dict[Folder, ObjectName] = Field(default_factory=dict)
    """PersistentVolumeClaims by the folder where they appear."""
    environment: dict[Variable, str] = Field(default_factory=dict)
    secrets: dict[ObjectName, dict[Variable, str]] = Field(default_factory=dict)
    """For each Secret: environment variable -> key in it."""
    pod_labels: dict[str, str] = Field(default_factory=dict)
    """Also what gives a pod its identity in a cloud, such as ``azure.workload.identity/use: "true"``."""
    pod_annotations: dict[str, str] = Field(default_factory=dict)
    user: int | None = Field(default=None, ge=1)
    """Numeric user and group; never root."""
    timeout_seconds: int | None = Field(default=None, ge=1)
    retry: Retry | None = None

    @model_validator(mode="after")
    def _one_mount_a_folder(self) -> Self:
        for folder, size in ((_SCRATCH, self.scratch), (_SHARED_MEMORY, self.shared_memory)):
            if size is not None and folder in self.volumes:
                raise ValueError(f"{folder} is a volume already")
        return self

    def apply(self, task: Any) -> None:
        """Write all of it into a ``kfp.dsl.PipelineTask``."""
        from kfp import kubernetes

        self._ask_for_resources(task)
        self._mount(task)
        for name, value in self.environment.items():
            task.set_env_variable(name, value)
        for secret, variables in self.secrets.items():
            for variable, key in variables.items():
                kubernetes.use_secret_as_env(task, secret_name=secret, secret_key_to_env={key: variable})
        for key, value in self.pod_labels.items():
            kubernetes.add_pod_label(task, key, value)
        for key, value in self.pod_annotations.items():
            kubernetes.add_pod_annotation(task, key, value)
        if self.user is not None:
            kubernetes.set_security_context(
                task, run_as_user=self.user, run_as_group=self.user, run_as_non_root=True
            )
        if self.timeout_seconds is not None:
            kubernetes.set_timeout(task, self.timeout_seconds)
        if self.retry is not None:
            task.set_retry(
                num_retries=self.retry.attempts,
                backoff_duration=f"{self.retry.backoff_seconds}s",
                backoff_factor=self.retry.factor,
                backoff_max_duration=f"{self.retry.longest_seconds}s",
            )

    def _ask_for_resources(self, task: Any) -> None:
        from kfp import kubernetes

        if self.cpu is not None:
            task.set_cpu_request(self.cpu.request).set_cpu_limit(self.cpu.limit)
        if self.memory is not None:
            task.set_memory_request(self.memory.request).set_memory_limit(self.memory.limit)
        if self.gpu is not None:
            task.set_accelerator_type(self.gpu.resource).set_accelerator_limit(self.gpu.count)
        for key, value in self.node_selector.items():
            kubernetes.add_node_selector(task, key, value)
        for toleration in self.tolerations:
            kubernetes.add_toleration(task, **toleration.model_dump())

    def _mount(self, task: Any) -> None:
        from kfp import kubernetes

        if self.shared_memory is not None:
            kubernetes.empty_dir_mount(
                task, "shared-memory", _SHARED_MEMORY, medium="Memory", size_limit=self.shared_memory
            )
        if self.scratch is not None:
            kubernetes.empty_dir_mount(task, "scratch", _SCRATCH, size_limit=self.scratch)
        for path, claim in self.volumes.items():
            kubernetes.mount_pvc(task, pvc_name=claim, mount_path=path)
