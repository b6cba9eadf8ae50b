"""All commands in one application. Errors are one sentence; the exit status is 0 only if all went well."""

import typer

from helpers.cli import course, model, zoo

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Transformers for Emotion."
)
for command in (course.fetch, course.repository, course.parameters, course.run, course.refresh, course.bands,
                course.figures, zoo.zoo, model.train, model.evaluate, model.predict):  # fmt: skip
    app.command()(command)


def main() -> None:
    """Run the command line; what a user can mend is said in one sentence."""
    from helpers.exceptions import PlainError

    try:
        app()
    except (PlainError, ValueError, FileNotFoundError) as error:
        typer.echo("\n".join([f"Error: {error}", *getattr(error, "__notes__", [])]), err=True)
        raise SystemExit(1) from None
