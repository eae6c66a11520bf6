"""Make notebooks/*.ipynb anew from the scripts of the same names, without outputs."""

from turnover.experiments.documentation.notebooks import scripts, text_of
from turnover.runs.store.run import write_text


def main() -> None:
    for script in scripts():
        write_text(script.with_suffix(".ipynb"), text_of(script))
        print(script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
