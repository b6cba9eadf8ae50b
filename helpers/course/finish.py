"""The end of a notebook in one call: record, history, predictions and curves in the run's folder, and the result card."""

import shutil
from pathlib import Path

from helpers.assets.find import find_data_version
from helpers.course.expected import print_card
from helpers.plots import plot_history
from helpers.runs import complete_run, metrics_record, save_figure


def finish(chosen, corpus, scores, *, method: str, model: str | None = None, result=None, wrong=None, **extra) -> None:
    """Complete the run that `course.choose` opened, and print its expected-result card.

    `scores` (`evaluation.score`) are those of the test split, `result` is what `training.fit` returned; `model` names what
    was scored if it was not the chosen one; `wrong` is a table for `incorrect_predictions.csv` that knows more than the
    plain one. `extra` adds the notebook's own keys to `metrics.json`, or replaces some.
    With `save_model=False` the models go. The folder is given up: the run is over.
    """
    extra = {
        "data": find_data_version(chosen.dataset),
        "max_train_examples": getattr(chosen, "max_train_examples", None),
    } | extra
    record = metrics_record(
        notebook=chosen.notebook, model=model or chosen.model, revision=None if model else chosen.revision, method=method,
        dataset=chosen.dataset, sizes=corpus.splits.num_rows, metrics=scores.metrics, intervals=scores.intervals,
        seed=chosen.seed, device=chosen.device, result=result, **extra,
    )  # fmt: skip
    if result is not None:
        save_figure(plot_history(result.history, result.step_losses), chosen.run_folder, "history")
    if not getattr(chosen, "save_model", True) and not getattr(chosen, "push_to", None):
        for model in sorted(chosen.run_folder.glob("**/model")):
            shutil.rmtree(model)
    complete_run(chosen.run_folder, record, corpus.splits["test"]["text"], scores, result, wrong)
    print_card(record)


TRAINED = {"model": "the model is in", "checkpoint/best.safetensors": "the best weights, to go on from, are in"}


def say_where_on_failure(folder: Path) -> None:
    """From now on, let a cell that fails say where the weights of the run in `folder` are, if it has trained any.
    Outside a notebook, do nothing."""
    from IPython import get_ipython

    shell, before = get_ipython(), written(folder)
    if shell is None:
        return

    def say(result) -> None:
        new = {} if result.success else written(folder).items() - before.items()
        for name in [name for name in TRAINED if name in dict(new)][:1]:
            print(f"Nothing that was trained is lost: {TRAINED[name]} {folder / name}.")

    if earlier := getattr(shell, "_course_failure", None):  # of this notebook's cell, run before
        shell.events.unregister("post_run_cell", earlier)
    shell._course_failure = say
    shell.events.register("post_run_cell", say)


def written(folder: Path) -> dict[str, int]:
    """Return when each of the weights in `folder` was written, in ns of the file system's clock, which is not Python's."""
    return {name: (folder / name).stat().st_mtime_ns for name in TRAINED if (folder / name).exists()}
