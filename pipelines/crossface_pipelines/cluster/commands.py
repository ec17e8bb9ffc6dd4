"""``crossface submit``, ``watch``, ``schedule`` and ``doctor``."""

import argparse
import os
from pathlib import Path
from typing import Any

from crossface.errors import CrossfaceError
from crossface_pipelines.cluster.names import PIPELINES
from crossface_pipelines.options import add_params, add_pipeline, add_profile, positive

SCHEDULES = Path("manifests/schedules")
"""Where schedules lie in a checkout, from which the command is started."""


class DifferenceError(CrossfaceError):
    """The server and the files differ."""


class DoctorError(CrossfaceError):
    """A check failed."""


def add_commands(commands: Any) -> None:
    """Add the commands that need a cluster to the subcommands of a parser."""
    submit = commands.add_parser("submit", help="run a pipeline on a cluster")
    add_pipeline(submit, *PIPELINES)
    add_params(submit)
    add_profile(submit)
    submit.add_argument("--experiment", default="crossface", help="on the cluster (default %(default)s)")
    submit.add_argument("--wait", action="store_true", help="until it has ended; exit with 1 where it failed")
    _add_timeout(submit)
    submit.set_defaults(call=_submit)

    watch = commands.add_parser("watch", help="follow a run on a cluster until it has ended")
    watch.add_argument("run_id", metavar="RUN")
    _add_timeout(watch)
    watch.set_defaults(call=_watch)

    doctor = commands.add_parser("doctor", help="check that a cluster has what a pipeline needs")
    add_profile(doctor)
    doctor.add_argument(
        "--bucket",
        default=os.environ.get("CROSSFACE_BUCKET", ""),
        help="one that the runs use; else that of CROSSFACE_BUCKET",
    )
    doctor.set_defaults(call=_doctor)

    for command in (submit, watch, doctor, *_add_schedule(commands)):
        command.add_argument("--host", default="", help="of Kubeflow Pipelines; else that of KFP_HOST")
        command.add_argument("--namespace", default="", help="of the runs; else that of KFP_NAMESPACE")


def _add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout-minutes", type=positive(float), metavar="N", help="wait no longer; the run goes on"
    )


def _add_schedule(commands: Any) -> list[argparse.ArgumentParser]:
    schedule = commands.add_parser("schedule", help="run pipelines on a cluster again and again")
    actions = schedule.add_subparsers(required=True, metavar="ACTION")
    diff = actions.add_parser("diff", help="show what apply would change; exit with 1 where it would")
    diff.set_defaults(call=_diff)
    apply = actions.add_parser("apply", help="make the cluster have what the files say")
    apply.add_argument("--dry-run", action="store_true", help="only show what would change")
    apply.set_defaults(call=_apply)
    show = actions.add_parser("list", help="show the schedules of the cluster")
    show.set_defaults(call=_list)
    disable = actions.add_parser("disable", help="stop a schedule of the cluster")
    disable.add_argument("name", metavar="NAME")
    disable.set_defaults(call=_disable)
    for action in (diff, apply, show, disable):
        action.add_argument(
            "--folder", type=Path, default=SCHEDULES, help="of schedule files (default %(default)s)"
        )
    return [diff, apply, show, disable]


def _submit(arguments: argparse.Namespace) -> None:
    from crossface_pipelines.cluster.client import connect
    from crossface_pipelines.cluster.runs import start_run, watch
    from crossface_pipelines.cluster.sources import check_sources
    from crossface_pipelines.cluster.versions import compiled, experiment_id, find_or_upload
    from crossface_pipelines.compiling import arguments_elsewhere
    from crossface_pipelines.profiles import load_profile

    profile = load_profile(arguments.profile)
    values = arguments_elsewhere(arguments.pipeline, arguments.params, arguments.set)
    check_sources(arguments.pipeline, values, profile)
    cluster = connect(arguments.host, arguments.namespace)
    version = find_or_upload(cluster, compiled(arguments.pipeline, profile))
    title = f"{arguments.pipeline} {Path(arguments.params).stem}"
    run_id = start_run(cluster, version, title, experiment_id(cluster, arguments.experiment), profile, values)
    print(cluster.run_url(run_id), flush=True)
    if arguments.wait:
        watch(cluster, run_id, arguments.timeout_minutes)


def _watch(arguments: argparse.Namespace) -> None:
    from crossface_pipelines.cluster.client import connect
    from crossface_pipelines.cluster.runs import watch

    watch(connect(arguments.host, arguments.namespace), arguments.run_id, arguments.timeout_minutes)


def _planned(arguments: argparse.Namespace) -> Any:
    """The cluster, and for each schedule the plan and the lines of its difference; says what has no file."""
    from crossface_pipelines.cluster import schedules
    from crossface_pipelines.cluster.client import connect
    from crossface_pipelines.cluster.schedule_files import load_schedules

    files = load_schedules(arguments.folder)
    cluster = connect(arguments.host, arguments.namespace)
    wanted, present = schedules.resolve(cluster, files), schedules.on_server(cluster)
    plans = [step for one in wanted if (step := schedules.plan(one, present))]
    names = {schedule.name for schedule in files.values()}
    for name in sorted({one.name for one in present if one.enabled} - names):
        print(
            f"# {name}: runs on the server and has no file; stop it with: crossface schedule disable {name}"
        )
    return cluster, [(step, schedules.difference(step, present)) for step in plans]


def _diff(arguments: argparse.Namespace) -> None:
    _, planned = _planned(arguments)
    for _, lines in planned:
        print("\n".join(lines))
    if planned:
        count = f"{len(planned)} schedule{'s' if len(planned) > 1 else ''}"
        raise DifferenceError(f"{count} would change; crossface schedule apply does it")


def _apply(arguments: argparse.Namespace) -> None:
    from crossface_pipelines.cluster.schedules import carry_out

    cluster, planned = _planned(arguments)
    for step, lines in planned:
        print("\n".join(lines if arguments.dry_run else carry_out(cluster, step)), flush=True)
    if not planned:
        print("nothing to change")


def _list(arguments: argparse.Namespace) -> None:
    from crossface_pipelines.cluster.client import connect
    from crossface_pipelines.cluster.schedules import on_server

    seen: set[str] = set()
    for one in on_server(connect(arguments.host, arguments.namespace)):
        if one.enabled or one.name not in seen:  # not what newer ones replaced
            state = "enabled" if one.enabled else "disabled"
            print(f"{one.name:20}  {state:8}  {one.state['cron']:20}  version {one.version}  {one.id}")
        seen.add(one.name)


def _disable(arguments: argparse.Namespace) -> None:
    from crossface_pipelines.cluster.client import connect
    from crossface_pipelines.cluster.schedules import disable

    for line in disable(connect(arguments.host, arguments.namespace), arguments.name):
        print(line)


def _doctor(arguments: argparse.Namespace) -> None:
    from crossface_pipelines.cluster import doctor
    from crossface_pipelines.cluster.checks import findings
    from crossface_pipelines.cluster.kube import kubernetes
    from crossface_pipelines.profiles import load_profile

    profile = load_profile(arguments.profile)
    namespace = arguments.namespace or os.environ.get("KFP_NAMESPACE", "")
    checks = {
        "Kubeflow": lambda: doctor.kubeflow(arguments.host, namespace),
        "MLflow": doctor.mlflow,
        "object store": lambda: doctor.object_store(arguments.bucket),
        "Kubernetes": lambda: kubernetes(profile, namespace),
    }
    failed = 0
    for subject, check in checks.items():
        for finding in findings(subject, check):
            print(finding, flush=True)
            failed += finding.state == "fail"
    if failed:
        raise DoctorError(f"{failed} of the checks failed")
