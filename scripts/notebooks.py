"""Make notebooks/*.ipynb anew from the scripts of the same names, without outputs."""

from turnover.common.files import write_text
from turnover.experiments.documentation.notebooks import scripts, text_of


def main() -> None:
    for script in scripts():
        write_text(script.with_suffix(".ipynb"), text_of(script))
        print(script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
