"""Which version answers: the alias ``champion``, moved under a lock and last of all.

A process may be killed between any two requests: the champion is then the old version or the new one, both
complete, and the same command once more does what is left.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from getpass import getuser
from typing import Protocol

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from crossface.errors import CrossfaceError
from crossface.register.locking import registry_lock
from crossface.register.names import (
    CHALLENGER,
    CHAMPION,
    COMPARED_WITH_TAG,
    PASSED,
    PREVIOUS,
    PREVIOUS_TAG,
    PROMOTED_AT_TAG,
    PROMOTED_BY_TAG,
    REFUSED,
    ROLLBACK_TAG,
    ROLLED_BACK_AT_TAG,
    ROLLED_BACK_BY_TAG,
    ROLLED_BACK_TAG,
    VERDICT_SENTENCE_TAG,
    VERDICT_TAG,
    WHY_TAG,
)


class PromotionError(CrossfaceError):
    """The champion cannot be moved so; it is where it was."""


class PromotionRefusedError(PromotionError):
    """The version may not become champion; the message is one sentence."""


class Judgement(Protocol):
    """What came of comparing a version with the champion."""

    @property
    def passed(self) -> bool:
        """Whether the version may take over."""

    @property
    def sentence(self) -> str:
        """Why, in one sentence."""


_NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}

Judge = Callable[[str, str], Judgement]
"""Compares a version with the champion: ``judge(version, champion)``."""


@dataclass(frozen=True)
class Move:
    """Of the alias ``champion``; not a move when ``before`` and ``after`` are the same."""

    before: str | None
    after: str


def promote(client: MlflowClient, name: str, version: str, judge: Judge, why: str = "") -> Move:
    """Make a version the champion, and the champion the previous one.

    Args:
        client: of the registry.
        name: of the registered model.
        version: its number.
        judge: is asked when the champion is no longer the one that the version's verdict is about.
        why: a person's reason; a version that was rolled back is promoted again only with one.

    Raises:
        PromotionRefusedError: the version was refused, or rolled back, or is worse than the present champion.
        PromotionError: there is no such version, or someone moves the champion without the lock.
        ConfigError, LockError: as of :func:`crossface.register.locking.registry_lock`.
    """
    with registry_lock(name, client._registry_uri):
        model, candidate = _model(client, name), _version(client, name, version)
        version, champion = str(candidate.version), _alias(model, CHAMPION)
        verdict = {} if champion == version else _admitted(candidate, champion, judge, why)
        _forget_rollback(client, model, candidate)
        if champion != version:
            signed = _signed(PROMOTED_AT_TAG, PROMOTED_BY_TAG)
            _tag(client, candidate, {**verdict, **signed, WHY_TAG: why, PREVIOUS_TAG: champion or ""})
            if champion:
                client.set_registered_model_alias(name, PREVIOUS, champion)
            _crown(client, name, version)
        if _alias(model, CHALLENGER) == version:
            client.delete_registered_model_alias(name, CHALLENGER)
        return Move(champion, version)


def rollback(client: MlflowClient, name: str, why: str) -> Move:
    """Make the previous champion the champion again; once more returns to the one before it.

    Args:
        client: of the registry.
        name: of the registered model.
        why: what is wrong with the champion; stays with it as a tag.

    Raises:
        PromotionError: there is no champion, or none before it that could take over, or someone moves the
            champion without the lock.
        ConfigError, LockError: as of :func:`crossface.register.locking.registry_lock`.
    """
    with registry_lock(name, client._registry_uri):
        model = _model(client, name)
        champion = _alias(model, CHAMPION)
        if champion is None:
            raise PromotionError(f"{name} has no champion to roll back")
        leaving, _, target = model.tags.get(ROLLBACK_TAG, "").partition(" ")
        if champion != target:  # else one was killed after its last move, and must not become two
            leaving, target = champion, _return_to(client, model, champion)
            tags = {PREVIOUS_TAG: target, ROLLED_BACK_TAG: why}
            tags |= _signed(ROLLED_BACK_AT_TAG, ROLLED_BACK_BY_TAG)
            _tag(client, _version(client, name, leaving), tags)
            client.set_registered_model_tag(name, ROLLBACK_TAG, f"{leaving} {target}")
            if earlier := _next_return(client, name, target):
                client.set_registered_model_alias(name, PREVIOUS, earlier)
            elif PREVIOUS in model.aliases:
                client.delete_registered_model_alias(name, PREVIOUS)
            _crown(client, name, target)
        client.delete_registered_model_tag(name, ROLLBACK_TAG)
        return Move(leaving, target)


def _admitted(candidate: ModelVersion, champion: str | None, judge: Judge, why: str) -> dict[str, str]:
    """The verdict that lets a version in, as tags when it is a new one."""
    which, tags = f"{candidate.name} version {candidate.version}", candidate.tags
    if tags.get(VERDICT_TAG) == REFUSED:
        raise PromotionRefusedError(f"{which} was refused: {tags.get(VERDICT_SENTENCE_TAG, '')}".rstrip(": "))
    if ROLLED_BACK_TAG in tags and not why:
        raise PromotionRefusedError(
            f"{which} was rolled back ({tags[ROLLED_BACK_TAG]}), and returns only with a reason why"
        )
    if champion is None or champion == tags.get(COMPARED_WITH_TAG):
        return {}
    judgement = judge(str(candidate.version), champion)
    if not judgement.passed:
        raise PromotionRefusedError(f"{which} may not follow version {champion}: {judgement.sentence}")
    return {
        VERDICT_TAG: PASSED,
        VERDICT_SENTENCE_TAG: judgement.sentence,
        COMPARED_WITH_TAG: champion,
    }


def _forget_rollback(client: MlflowClient, model: RegisteredModel, version: ModelVersion) -> None:
    """Of a version that is to be champion after all; and of one that was never finished."""
    if ROLLBACK_TAG in model.tags:
        client.delete_registered_model_tag(model.name, ROLLBACK_TAG)
    for tag in (ROLLED_BACK_TAG, ROLLED_BACK_AT_TAG, ROLLED_BACK_BY_TAG):
        if tag in version.tags:
            client.delete_model_version_tag(model.name, str(version.version), tag)


def _return_to(client: MlflowClient, model: RegisteredModel, champion: str) -> str:
    """The version that a rollback of the champion makes champion."""
    name = model.name
    known = _version(client, name, champion).tags.get(PREVIOUS_TAG) or _alias(model, PREVIOUS)
    if not known or known == champion:
        raise PromotionError(
            f"{name} has no champion before version {champion}; promote another version instead"
        )
    why = _version(client, name, known).tags.get(ROLLED_BACK_TAG)
    if why is not None:
        raise PromotionError(
            f"{name} version {known}, the champion before version {champion}, was rolled back itself: {why}; "
            "promote another version instead"
        )
    return known


def _next_return(client: MlflowClient, name: str, version: str) -> str | None:
    """The version that a rollback of this one would return to, if any."""
    previous = _version(client, name, version).tags.get(PREVIOUS_TAG)
    if not previous:
        return None
    try:
        gone = ROLLED_BACK_TAG in _version(client, name, previous).tags
    except PromotionError:
        return None  # deleted
    return None if gone else previous


def _crown(client: MlflowClient, name: str, version: str) -> None:
    client.set_registered_model_alias(name, CHAMPION, version)
    found = _alias(_model(client, name), CHAMPION)
    if found != version:
        raise PromotionError(
            f"{name} version {found} is champion, not {version}: someone moves the alias without the lock"
        )


def _tag(client: MlflowClient, version: ModelVersion, tags: dict[str, str]) -> None:
    for key, value in tags.items():
        client.set_model_version_tag(version.name, str(version.version), key, value)


def _signed(at: str, by: str) -> dict[str, str]:
    """When, and who: the user of the tracking server, or of this machine."""
    person = os.environ.get("MLFLOW_TRACKING_USERNAME") or getuser()
    return {at: datetime.now(UTC).isoformat(timespec="seconds"), by: person}


def _alias(model: RegisteredModel, alias: str) -> str | None:
    version = model.aliases.get(alias)
    return None if version is None else str(version)


def _model(client: MlflowClient, name: str) -> RegisteredModel:
    with _missing(f"there is no registered model {name}"):
        return client.get_registered_model(name)


def _version(client: MlflowClient, name: str, version: str) -> ModelVersion:
    with _missing(f"{name} has no version {version}: it was never registered, or has been deleted"):
        return client.get_model_version(name, version)


@contextmanager
def _missing(message: str) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        if error.error_code not in _NOT_THERE:
            raise
        raise PromotionError(message) from None
