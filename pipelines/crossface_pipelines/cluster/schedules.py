"""Schedules of files, brought to a cluster as recurring runs.

Kubeflow cannot change a recurring run, so a changed schedule becomes a new one, and then the old is disabled:
in this order, so that whatever stops us in between leaves one running. What a recurring run was made of is in
its description, as a digest; that is how the next call knows what is left to do.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import kfp_server_api
import yaml

from crossface.errors import ConfigError
from crossface_pipelines.cluster.client import Cluster, pages
from crossface_pipelines.cluster.runs import plugins_input
from crossface_pipelines.cluster.schedule_files import Schedule
from crossface_pipelines.cluster.sources import check_sources
from crossface_pipelines.cluster.versions import Compiled, compiled, experiment_id, find_or_upload
from crossface_pipelines.compiling import arguments_elsewhere
from crossface_pipelines.profiles import Profile, load_profile

_MARK = re.compile(r"crossface schedule (\S+): version (\S+), state (\S+), experiment (.+)")
_DIGITS = 16  # of a digest


@dataclass(frozen=True)
class Wanted:
    """A schedule with all that it stands for."""

    path: Path
    schedule: Schedule
    profile: Profile
    made: Compiled
    arguments: Mapping[str, Any]
    plugins: Mapping[str, Any] | None

    @cached_property
    def state(self) -> dict[str, Any]:
        """All that needs a new recurring run when it changes; being enabled is not of it."""
        return {
            "cron": self.schedule.cron,
            "max_concurrency": self.schedule.max_concurrency,
            "no_catchup": self.schedule.no_catchup,
            "experiment": self.schedule.experiment,
            "service_account": self.profile.service_account,
            "version": self.made.version,
            "plugins": self.plugins,
            "arguments": self.arguments,
        }

    @property
    def digest(self) -> str:
        """Of the state, and the pipeline that it is of."""
        text = json.dumps([self.made.pipeline, self.state], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]

    @property
    def mark(self) -> str:
        """Description of its recurring run; :class:`Present` reads it."""
        return (
            f"crossface schedule {self.schedule.name}: version {self.made.version}, state {self.digest}, "
            f"experiment {self.schedule.experiment}"
        )


@dataclass(frozen=True)
class Present:
    """A recurring run on the server that a schedule was the reason for."""

    run: Any
    name: str
    version: str
    digest: str
    experiment: str

    @property
    def enabled(self) -> bool:
        """Whether it starts runs."""
        return self.run.status == "ENABLED"

    @property
    def id(self) -> str:
        """Of the recurring run."""
        return str(self.run.recurring_run_id)

    @property
    def state(self) -> dict[str, Any]:
        """As :attr:`Wanted.state`, as far as the server tells."""
        config = self.run.runtime_config
        return {
            "cron": self.run.trigger.cron_schedule.cron if self.run.trigger.cron_schedule else None,
            "max_concurrency": int(self.run.max_concurrency or 1),
            "no_catchup": bool(self.run.no_catchup),
            "experiment": self.experiment,
            "service_account": self.run.service_account or "",
            "version": self.version,
            "plugins": self.run.plugins_input or None,
            "arguments": (config and config.parameters) or {},
        }


@dataclass(frozen=True)
class Plan:
    """What makes the server have one schedule as its file says."""

    wanted: Wanted
    current: Present | None
    """Already as wanted, but for being enabled or not."""
    enable: bool
    disable: tuple[Present, ...]

    @property
    def create(self) -> bool:
        """Whether a new recurring run is needed."""
        return self.enable and self.current is None

    def __bool__(self) -> bool:
        return self.enable or bool(self.disable)


def resolve(cluster: Cluster, schedules: Mapping[Path, Schedule]) -> list[Wanted]:
    """Compile the pipelines and validate the parameters of all schedules.

    Raises:
        ConfigError: one line a fault, each naming its file.
    """
    found, faults = [], []
    for path, schedule in schedules.items():
        try:
            profile = load_profile(schedule.profile)
            arguments = arguments_elsewhere(schedule.pipeline, schedule.params, schedule.set)
            check_sources(schedule.pipeline, arguments, profile)
        except ConfigError as error:
            faults += [f"{path}: {line}" for line in str(error).splitlines()]
            continue
        made = compiled(schedule.pipeline, profile)
        found.append(Wanted(path, schedule, profile, made, arguments, plugins_input(cluster, profile)))
    if faults:
        raise ConfigError("\n".join(faults))
    return found


def on_server(cluster: Cluster) -> list[Present]:
    """All recurring runs that came from schedules, the newest first; others are nobody's business here."""
    listing = cluster.recurring.recurring_run_service_list_recurring_runs
    found = [
        Present(run, *mark.groups())
        for run in pages(listing, "recurring_runs", namespace=cluster.namespace)
        if (mark := _MARK.fullmatch(run.description or ""))
    ]
    return sorted(found, key=lambda present: str(present.run.created_at), reverse=True)


def plan(wanted: Wanted, present: Iterable[Present]) -> Plan:
    """Compare one schedule with what is on the server."""
    mine = [one for one in present if one.name == wanted.schedule.name]
    same = [one for one in mine if one.digest == wanted.digest]
    current = next((one for one in same if one.enabled), next(iter(same), None))
    keep = current if wanted.schedule.enabled else None
    enable = wanted.schedule.enabled and not (current and current.enabled)
    return Plan(wanted, current, enable, tuple(one for one in mine if one.enabled and one is not keep))


def carry_out(cluster: Cluster, step: Plan) -> list[str]:
    """Do what is planned for one schedule, and say what was done.

    Raises:
        ClusterError: the server does not do it; the next call takes up what is left.
    """
    name, done = step.wanted.schedule.name, []
    if step.create:
        made = _create(cluster, step.wanted)
        done.append(f"{name}: created {made}")
    elif step.enable and step.current:
        cluster.recurring.recurring_run_service_enable_recurring_run(step.current.id)
        done.append(f"{name}: enabled {step.current.id}")
    for one in step.disable:
        cluster.recurring.recurring_run_service_disable_recurring_run(one.id)
        done.append(f"{name}: disabled {one.id}")
    return done


def _create(cluster: Cluster, wanted: Wanted) -> str:
    schedule = wanted.schedule
    version = find_or_upload(cluster, wanted.made)
    run = kfp_server_api.V2beta1RecurringRun(
        display_name=schedule.name,
        description=wanted.mark,
        experiment_id=experiment_id(cluster, schedule.experiment),
        pipeline_version_reference=version.reference,
        runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters=dict(wanted.arguments)),
        trigger=kfp_server_api.V2beta1Trigger(
            cron_schedule=kfp_server_api.V2beta1CronSchedule(cron=schedule.cron)
        ),
        mode=kfp_server_api.RecurringRunMode.ENABLE,
        max_concurrency=str(schedule.max_concurrency),
        no_catchup=schedule.no_catchup,
        service_account=wanted.profile.service_account or None,
        plugins_input=wanted.plugins,
    )
    return str(cluster.recurring.recurring_run_service_create_recurring_run(run).recurring_run_id)


def difference(step: Plan, present: Sequence[Present]) -> list[str]:
    """The planned change as a diff of what the server has and what the file says."""
    mine = [one for one in present if one.name == step.wanted.schedule.name]
    # what runs now; else what ran last
    before = next((one for one in mine if one.enabled), next(iter(mine), None))
    old = _text(before.state, before.enabled) if before else []
    new = _text(step.wanted.state, step.wanted.schedule.enabled)
    name = step.wanted.schedule.name
    lines = list(
        difflib.unified_diff(old, new, f"{name} on the server", str(step.wanted.path), n=1, lineterm="")
    )
    return lines + [f"# {name}: {one.id} would be disabled" for one in step.disable]


def _text(state: Mapping[str, Any], enabled: bool) -> list[str]:
    # JSON on its way through the server has no 1.0
    plain = json.loads(json.dumps({"enabled": enabled, **state}), parse_float=_number)
    return yaml.safe_dump(plain, sort_keys=False).splitlines()


def _number(text: str) -> float | int:
    value = float(text)
    return int(value) if value.is_integer() else value


def disable(cluster: Cluster, name: str) -> list[str]:
    """Stop a schedule, and say what was done.

    Raises:
        ConfigError: the server has no schedule of this name.
    """
    present = on_server(cluster)
    mine = [one for one in present if one.name == name]
    if not mine:
        there = ", ".join(sorted({one.name for one in present})) or "none"
        raise ConfigError(f"{name}: no such schedule on the server; there is {there}")
    enabled = [one for one in mine if one.enabled]
    for one in enabled:
        cluster.recurring.recurring_run_service_disable_recurring_run(one.id)
    if not enabled:
        return [f"{name}: disabled already"]
    done = [f"{name}: disabled {one.id}" for one in enabled]
    return [*done, "the next apply enables it again, unless its file is gone or says enabled: false"]
