"""Blocks of trials that share a part of their random draw, so that they can train together as lanes of one model.

Here: which parameters a definition's blocks share, and what its options may not say. Not here: the draw (`samplers`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from hpo_service.core.algorithm_specs import model_of
from hpo_service.core.definition import StudyDefinition
from hpo_service.errors import FieldProblem
from search_spaces.catalog import RECIPES, lane_names

SIZE, SHARED = "algorithm.block", "algorithm.block_on"


def size(definition: StudyDefinition) -> int:
    """How many trials with consecutive numbers share a draw; 1 without blocks."""
    return int(getattr(definition.algorithm, "block", 1))


def shared(definition: StudyDefinition) -> frozenset[str]:
    """What a block's trials have in common: the parameters of `block_on`, else all that are no lanes of the recipe.

    Nothing where the trainer's lanes are not known here.
    """
    given = getattr(definition.algorithm, "block_on", None)
    if given is not None:
        return frozenset(given)
    recipe = definition.trainer.recipe
    return frozenset(definition.space) - frozenset(lane_names(recipe)) if recipe in RECIPES else frozenset()


def problems(definition: StudyDefinition) -> Iterator[FieldProblem]:
    """What breaks the rules of blocks; the space is known to be right."""
    count, given = size(definition), getattr(definition.algorithm, "block_on", None)
    if count == 1:
        if given is not None:
            yield FieldProblem(
                path=SHARED,
                rule="block_on says what a block of trials shares, so there must be blocks of more than one",
                value=list(given),
                remedy="set algorithm.block, or remove block_on",
            )
        return
    if model_of(definition.algorithm) is not None:
        yield FieldProblem(
            path=SIZE,
            rule="a block shares a part of a random draw, so the sampler must be random",
            value=count,
            remedy="set algorithm.sampler to random, or remove block",
        )
    elif given is None and definition.trainer.recipe not in RECIPES:
        yield FieldProblem(
            path=SHARED,
            rule="only of the built-in recipes it is known which parameters are lanes, so block_on must say what a "
            "block shares",
            value=None,
            remedy="name the tuned parameters that shape the model or its batches, such as [batch_size]",
        )
    else:
        yield from list(_unknown(definition)) or _divided(definition)


def _unknown(definition: StudyDefinition) -> Iterator[FieldProblem]:
    for name in sorted(shared(definition) - set(definition.space)):
        close = difflib.get_close_matches(name, definition.space, n=1, cutoff=0.5)
        yield FieldProblem(
            path=SHARED,
            rule="block_on names parameters of the space",
            value=name,
            remedy=f"did you mean {close[0]!r}?" if close else f"known: {', '.join(definition.space)}",
        )


def _divided(definition: StudyDefinition) -> Iterator[FieldProblem]:
    """Trials of a block agree on what they share only if its conditions are shared too; and they must differ."""
    space, names = definition.search_space, shared(definition)
    for name in sorted(names):
        parents = sorted(set(space.parameters[name].when or ()) - names)
        if parents:
            yield FieldProblem(
                path=SHARED,
                rule="whether a shared parameter is active must be the same for a whole block, so what its condition "
                "names is shared too",
                value=name,
                remedy=f"add {', '.join(parents)} to block_on, or leave {name} out",
            )
    if not definition.repeats and all(space.parameters[n].cardinality == 1 for n in space.names if n not in names):
        yield FieldProblem(
            path=SHARED,
            rule="a block's trials must differ in some parameter, for no configuration is drawn twice",
            value=sorted(names),
            remedy="leave a tuned parameter out of block_on, remove block, or set repeats: true",
        )
