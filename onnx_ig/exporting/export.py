"""Write an attribution model to a file, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.attribution import build, make_plan
from onnx_ig.attribution.batch_axis import examples_first
from onnx_ig.attribution.chosen_targets import TargetSpec, TargetsSpec
from onnx_ig.attribution.contract import KEY as CONTRACT
from onnx_ig.attribution.contract import Contract
from onnx_ig.attribution.layout import require_row_each
from onnx_ig.attribution.plan import STEPS_PER_RUN, BaselineSpec, Plan
from onnx_ig.checking.conformance import FOLDER, replace_data_sets, require_place_for_data_sets
from onnx_ig.common.arrays import as_tuple, named_arrays
from onnx_ig.common.atomic import drafts, move
from onnx_ig.common.destination import require_free_file, writing
from onnx_ig.common.types import Algorithm, Array, Form, Rule, SumOver
from onnx_ig.engine.batching import free_batch
from onnx_ig.engine.examples_apart import require_examples_apart
from onnx_ig.engine.path_rule import FixedSteps, ToTolerance, path_rule
from onnx_ig.errors import MissingDependencyError, UsageError, warn
from onnx_ig.exporting.model_writer import weight_bytes, write_model
from onnx_ig.exporting.plain import RespellPass
from onnx_ig.exporting.portable.pinning import in_rows, rows_to_declare, with_sizes_of
from onnx_ig.exporting.portable.runtimes import ANY, Needs, needs_of
from onnx_ig.exporting.portable.write import make_portable
from onnx_ig.exporting.trial import try_out
from onnx_ig.loading.interface import put_defaults_back
from onnx_ig.loading.model import Model, Source, load_with_output, tensor_called
from onnx_ig.quadrature import path_nodes_and_weights


def export(
    source: Source,
    path: str | os.PathLike[str],
    *,
    algorithm: Algorithm = "integrated-gradients",
    form: Form = "complete",
    inputs: Sequence[str] | None = None,
    output: str | int | None = None,
    at: str | Sequence[str] | None = None,
    sum_over: SumOver | None = None,
    target: TargetSpec = "input",
    targets: TargetsSpec | None = None,
    baselines: BaselineSpec | Mapping[str, BaselineSpec] = 0,
    method: Rule | None = None,
    n_steps: int | None = None,
    tolerance: float | None = None,
    max_steps: int | None = None,
    path_as_input: bool = False,
    steps_per_run: int | None = None,
    multiply_by_inputs: bool = True,
    per_example: Sequence[str] = (),
    batch_axis: int | None = 0,
    prefix: str = "",
    example_inputs: Any = None,
    additional_forward_args: Any = None,
    weights: str | os.PathLike[str] | None = None,
    with_test_data: bool | Mapping[str, Array] = False,
    reference: Any = None,
    portable: bool = False,
    for_runtime: str | None = None,
    batch: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an attribution model: one ordinary .onnx file that computes attributions with one Run, in any runtime.

    Args:
        source: an ONNX model (path, bytes, ModelProto, onnx_ir model), or a PyTorch one (nn.Module, .pt2 file,
            ``package.module:factory``) with ``example_inputs`` and perhaps ``weights``.
        path: the file to write; it appears only when the model is complete.
        algorithm: ``integrated-gradients``, ``input-x-gradient``, or the map of a convolution in ``at``, [N, 1, height,
            width]: ``grad-cam`` or ``hirescam``, see :class:`onnx_ig.LayerGradCam`.
        form: ``complete`` (one Run does everything) or ``step`` (the caller gives chunks of the path and adds up).
        inputs: names of the attributed inputs; default: the only float input, or all of a table's ([N] or [N, k] each).
        output: the float tensor F is selected from, by name or its position among the outputs; of what a PyTorch model
            returns a key, a field or a position. Default: the only float output.
        at: the tensor whose attribution is reported, instead of the inputs' (an embedding, a layer).
        sum_over: add the attributions up inside the graph, along the axis of ``channels`` (the one behind the examples;
            of an input that lies as NHWC, the last) or of an ``embedding`` (the last); the axis stays, with size 1.
        target: ``input`` (a graph input), ``predicted`` (the arg-max class at x), an int, or a tuple of ints.
        targets: several targets of each example instead, which share each forward pass: ``top-3``, the classes of the
            largest outputs at x, the largest first; a list of them; ``input-3``, so many as a graph input. Attributions
            and the numbers of an example then have an axis of targets behind that of the examples.
        baselines: ``input`` (a graph input), a number or, for an input of text, a text, an array of the input's shape
            or with one row; or a dict by name.
        method, n_steps: the quadrature rule, baked into the complete form unless ``path_as_input``; 50 points of
            Gauss–Legendre unless given.
        tolerance, max_steps: instead, as :meth:`onnx_ig.IntegratedGradients.attribute` takes them: the complete form's
            loop ends when each example's relative error is estimated below ``tolerance``, or after ``max_steps``
            (1024); outputs ``error_estimate`` and ``steps_used`` [N] beside the others. A batch takes as long as the
            example of it that needs most.
        path_as_input: make the path's nodes and weights graph inputs.
        steps_per_run: path points per evaluation inside the complete form's loop; 16 unless given; 0: no loop.
        multiply_by_inputs: keep the factor (x − baseline).
        per_example: additional inputs with one row per example, where their shape does not tell.
        batch_axis: where the examples lie in an ONNX model's inputs; None: the tensors hold one example, even if their
            shapes look like a batch. The written model has the examples on axis 0. A model for a fixed number of
            examples keeps it; its path points ride together where ONNX Runtime is installed and running the model
            shows that it treats examples apart.
        prefix: put before the names this function adds, when they clash with the model's own.
        example_inputs, additional_forward_args, weights: of a PyTorch source.
        with_test_data: also write ``test_data_set_0`` beside the file, for ``onnx-ig conform``; a mapping gives the
            values of the model's own inputs by name, else they are the example inputs, or drawn.
        reference: the nn.Module that tells what the test data expect, where ``source`` is not that itself.
        portable: write for runtimes that want sizes known and have no loops: every size is a number (the axes that the
            model leaves open are as long as in ``example_inputs``), the chunks of the path are so many copies of the
            step that share the weights, and what follows from the sizes is computed.
        for_runtime: one of :data:`onnx_ig.exporting.portable.runtimes.NEEDS`: the portable form, spelt as this runtime
            reads it; what it cannot compute is refused by name.
        batch: the number of examples of the portable form; default: one.
        overwrite: replace a file that is there already, and its test data; never one that the model is read from.

    Returns:
        The path written. Weights over 2 GB lie beside it in ``<path>.data``.

    Raises:
        UsageError, ModelError, InputError, NotDifferentiableError: see those classes; nothing is written. A model with
            a dynamic batch is run on a few examples (``example_inputs``, else drawn ones): InputError if it mixes them,
            a warning where it cannot be run.

    >>> import numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }''')
    >>> print(onnx_ig.export(model, "explained.onnx", target="predicted", n_steps=20, overwrite=True))
    explained.onnx
    >>> [y.name for y in onnx.load("explained.onnx").graph.output][:3]
    ['y', 'target_used', 'attribution_x']
    """
    target_path = Path(path)
    files = {Path(file) for file in (source, weights) if isinstance(file, (str, os.PathLike)) and os.path.exists(file)}
    require_free_file(target_path, files, overwrite=overwrite)
    needs = _needs(for_runtime, portable, batch)
    require_place_for_data_sets(target_path, wanted=with_test_data is not False, overwrite=overwrite)
    rule = path_rule(n_steps, method, tolerance, max_steps)
    if targets is not None and target != "input":
        raise UsageError("target= (--target) and targets= (--targets) contradict each other: leave one of them out")
    _refuse_tolerance(tolerance, algorithm, path_as_input=path_as_input, portable=needs is not None)
    is_open = path_as_input or form == "step" or algorithm != "integrated-gradients"
    model, chosen_output = load_with_output(
        source, output, example_inputs=example_inputs, additional_forward_args=additional_forward_args, weights=weights
    )
    files |= model.files
    require_free_file(target_path, files, overwrite=overwrite)
    model = examples_first(model, batch_axis)
    chosen: dict[str, Any] = {
        "inputs": inputs,
        "output": chosen_output,
        "at": [at] if isinstance(at, str) else at,
        "batch_axis": batch_axis and 0,
    }
    model, declared_rows = _with_free_batch(model, chosen)
    example = {**model.defaults, **_examples(model, example_inputs, additional_forward_args)}
    if model.note and batch_axis is not None:
        _require_row_each(model, make_plan(model, **chosen), example)
    if needs is not None:
        before = make_plan(model, **chosen, declared_rows=declared_rows, per_example=per_example)
        _require_examples_apart(model, before, example)
        declared_rows = rows_to_declare(before, batch)
        model = with_sizes_of(model, before, example)
    plan = make_plan(
        model,
        **chosen,
        declared_rows=declared_rows,
        in_sequence=needs is not None,
        path_points=_path_points(needs, form, rule, steps_per_run),
        algorithm=algorithm,
        form=form,
        target=target,
        targets=targets,
        baselines=baselines,
        steps_per_run=steps_per_run,
        per_example=per_example,
        multiply_by_inputs=multiply_by_inputs,
        sum_over=sum_over,
        prefix=prefix,
        **_baked_path(rule, is_open=is_open),
    )
    for reason in [] if needs is None else needs.refusals(plan.layout.n):
        raise UsageError(reason)
    built = build(model, plan).clone()  # in the copy only outputs count as such, and the rest is declared
    if needs is None:
        _require_examples_apart(model, plan, example)
        per_row = {*plan.attributed, *plan.per_example}  # whose rows are the caller's
        put_defaults_back(built.graph, {n: v for n, v in model.defaults.items() if n not in per_row})
    else:
        make_portable(built, needs)
        example = in_rows(plan, example)
    RespellPass(activations_apart=needs is None or needs.activations_apart)(built)
    with _published(target_path, files, overwrite) as draft:
        write_model(built, draft)
        contract = Contract.from_json(built.metadata_props[CONTRACT])
        try_out(draft, model, contract, example, weight_bytes(built), plan.baselines)
        if with_test_data is not False:
            given = example if with_test_data is True else {**model.defaults, **in_rows(plan, with_test_data)}
            module = source if reference is None and hasattr(source, "state_dict") else reference
            _write_test_data(draft, module, given, plan)
    return target_path


def _needs(for_runtime: str | None, portable: bool, batch: int | None) -> Needs | None:
    """What the portable form is written for; None where it is not asked for.

    Raises:
        UsageError: no such runtime, or a number of examples without the portable form.
    """
    needs = needs_of(for_runtime) if for_runtime is not None else ANY if portable else None
    if batch is not None and (needs is None or batch < 1):
        raise UsageError("batch= (--batch) goes with portable= (--portable), and is 1 or more")
    return needs


def _baked_path(rule: FixedSteps | ToTolerance, *, is_open: bool) -> dict[str, Any]:
    """What a plan says of a path that the file holds; nothing of one that its caller gives, or of none."""
    if isinstance(rule, ToTolerance):
        return {"to_tolerance": (rule.tolerance, rule.max_steps)}
    return {} if is_open else {"path": path_nodes_and_weights(rule.method, rule.n_steps), "method": rule.method}


def _write_test_data(draft: Path, module: Any, arguments: Mapping[str, Array], plan: Plan) -> None:
    from onnx_ig.checking.conformance_data import write_test_data  # runs the model, which export alone does not

    baked = {name: b for name, b in plan.baselines.items() if isinstance(b, np.ndarray)}
    write_test_data(draft, module=module, arguments=arguments, baselines=baked)


def _refuse_tolerance(tolerance: float | None, algorithm: str, *, path_as_input: bool, portable: bool) -> None:
    """Raise UsageError for a tolerance where no path is baked that it could end."""
    if tolerance is None:
        return
    if algorithm != "integrated-gradients":
        raise UsageError(f"tolerance= (--tolerance) goes with integrated-gradients: {algorithm} has no path")
    if portable:
        raise UsageError(
            "tolerance= (--tolerance) and portable= (--portable) contradict each other: the data tell how many "
            "path points a tolerance needs, and the portable form has a number of them"
        )
    if path_as_input:
        raise UsageError(
            "tolerance= (--tolerance) and path_as_input= (--path-as-input) contradict each other: the tolerance "
            "chooses the path points; leave one of them out"
        )


def _path_points(
    needs: Needs | None, form: Form, rule: FixedSteps | ToTolerance, steps_per_run: int | None
) -> int | None:
    """The length of a path that is an input: open, but in the portable form."""
    if needs is None or isinstance(rule, ToTolerance):
        return None
    return (steps_per_run or STEPS_PER_RUN) if form == "step" else rule.n_steps


@contextmanager
def _published(path: Path, sources: Collection[Path], overwrite: bool) -> Iterator[Path]:
    """A path to write a draft to, in a folder of its own: all files there appear beside ``path`` when the block ends.

    Raises:
        UsageError: one of them would replace a file of ``sources``, or another without ``overwrite``; no room.
    """
    with drafts(path.parent) as folder:
        yield folder / path.name
        made = [file.name for file in folder.iterdir() if file.is_file()]
        for name in made:
            require_free_file(path.parent / name, sources, overwrite=overwrite)
        require_place_for_data_sets(path, wanted=any(folder.glob(f"{FOLDER}*")), overwrite=overwrite)
        with writing(path):
            replace_data_sets(folder, path)
            move(made, folder, path.parent, last=path.name)  # the model makes the rest visible


def _with_free_batch(model: Model, chosen: Mapping[str, Any]) -> tuple[Model, int | None]:
    """The model with its fixed batch freed, and the number to declare; as it is, and None, where that is not proven."""
    plan = make_plan(model, **chosen)
    try:
        freed = free_batch(model, plan, "cpu")
    except MissingDependencyError:  # a runtime is not needed to export
        return model, None
    return freed, None if freed is model else plan.layout.n


def _require_row_each(model: Model, plan: Plan, given: Mapping[str, Array]) -> None:
    """Of a PyTorch model, whose examples lie on axis 0 whatever the shapes look like."""
    if plan.layout.kind == "none":
        shapes = {name: given[name].shape for name in plan.attributed if name in given}
        require_row_each(shapes, tensor_called(model, plan.output))


def _require_examples_apart(model: Model, plan: Plan, given: Mapping[str, Array]) -> None:
    try:
        require_examples_apart(model, plan, given)
    except MissingDependencyError as error:  # a runtime is not needed to export
        message = f"it was not checked that the model treats its examples apart: {error}"
        warn(message)


def _examples(model: Model, example_inputs: Any, additional_forward_args: Any) -> dict[str, Array]:
    """The arrays that come as examples, by the names of the model's inputs."""
    names = [str(x.name) for x in model.inputs]
    if isinstance(example_inputs, Mapping):
        return named_arrays({n: v for n, v in example_inputs.items() if n in names}, names, "example_inputs")
    arguments = (*as_tuple(example_inputs), *as_tuple(additional_forward_args))
    return named_arrays(tuple(x for x in arguments if hasattr(x, "shape")), names, "example_inputs")
