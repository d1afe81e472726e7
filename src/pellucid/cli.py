"""The `pellucid` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import pellucid
from pellucid.errors import PellucidError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status.

    Parameters
    ----------
    arguments
        The command line without the program's name; None takes the process's own.
    """
    parser = argparse.ArgumentParser(
        prog="pellucid", description="Explain what a trained model does, and show it."
    )
    parser.add_argument("--version", action="version", version=f"pellucid {pellucid.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    demo = commands.add_parser("demo", help="train two small models and explain them in a report")
    demo.add_argument("folder", nargs="?", default="pellucid-demo", help="where the report goes")
    report = commands.add_parser("report", help="write saved results into one HTML file")
    report.add_argument("results", nargs="+", help="files that result.save wrote")
    report.add_argument("-o", "--out", default="report.html", help="the file to write")
    report.add_argument("--title", default="Pellucid report")
    for command in (demo, report):
        command.add_argument("--theme", choices=("light", "dark"), default="light")
    commands.add_parser("methods", help="list the attribution methods, their cost and promise")

    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "demo":
            from pellucid.demo import demo as run

            run(chosen.folder, theme=chosen.theme, say=lambda line: print(line, flush=True))
        elif chosen.command == "report":
            results = [pellucid.load(path) for path in chosen.results]
            print(pellucid.report(results, chosen.out, title=chosen.title, theme=chosen.theme))
        else:
            print(pellucid.methods())
    except PellucidError as error:
        print(f"pellucid: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pellucid: interrupted", file=sys.stderr)
        return 130
    return 0
