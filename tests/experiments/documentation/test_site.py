"""The documentation builds in strict mode without a connection, and what it shows is what the repository has."""

import re
import shlex
import socket
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from readings import ROOT, page

from turnover.config.compose import sweep
from turnover.config.estimator_names import ALIASES
from turnover.config.run import RunConfig
from turnover.errors import RunFailed
from turnover.experiments.documentation.options import field_types, meanings, members, reference
from turnover.experiments.documentation.pages import filled, source
from turnover.experiments.results import committed

PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))


class _Requests(HTMLParser):
    """What a browser loads by itself to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.found.append(given.get("src") or "")
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(given.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; any warning and any connection is an error."""
    folder = tmp_path_factory.mktemp("site")

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("the build asked for a connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for owner, name in ((socket.socket, "connect"), (socket, "create_connection"), (socket, "getaddrinfo")):
            patch.setattr(owner, name, refuse)
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
        config.plugins.on_shutdown()
    return folder


def test_every_page_is_built(site: Path) -> None:
    assert {path.with_suffix(".html").name for path in map(Path, PAGES)} <= {path.name for path in site.glob("*.html")}


def test_a_page_on_scale_is_shown_once_it_is_written(site: Path) -> None:
    shown = 'href="scale.html"' in (site / "index.html").read_text(encoding="utf-8")
    assert shown == (ROOT / "docs" / "scale.md").is_file()


def test_pages_and_styles_load_nothing_from_elsewhere(site: Path) -> None:
    for path in site.glob("*.html"):
        parser = _Requests()
        parser.feed(path.read_text(encoding="utf-8"))
        assert parser.found
        assert [each for each in parser.found if re.match(r"(https?:)?//", each)] == [], path.name
    for path in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", path.read_text(encoding="utf-8")), path.name


def test_nothing_generated_is_left_out(site: Path) -> None:
    for path in site.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "<!-- turnover:" not in text, path.name
        assert "--8&lt;--" not in text, path.name
    assert (site / "pictures" / "laptop" / "fig2.png").stat().st_size > 10_000
    concepts = (site / "concepts.html").read_text(encoding="utf-8")
    assert concepts.count("<math") > 8
    assert "#!math" not in concepts


def test_every_public_name_is_documented(site: Path) -> None:
    import turnover

    text = (site / "api.html").read_text(encoding="utf-8")
    for name in set(turnover.__all__) - {"language"}:
        assert f'id="turnover.{name}"' in text, name
    text = (site / "language.html").read_text(encoding="utf-8")
    for name in turnover.language.__all__:
        assert f'id="turnover.language.{name}"' in text, name


def test_every_claim_and_figure_is_shown_with_its_verdict(site: Path) -> None:
    text = (site / "figures.html").read_text(encoding="utf-8") + (site / "studies.html").read_text(encoding="utf-8")
    for scale in ("laptop", "paper"):
        for name, result in committed(scale).items():
            assert f'src="pictures/{scale}/{quote(name)}.png"' in text, name
            for id, claim in result["claims"].items():
                shown = re.search(rf"<td><strong>{id}</strong>.*?</tr>", text, flags=re.DOTALL)
                assert shown is not None
                assert f"<strong>{claim['verdict']}</strong>" in shown[0], id


def test_every_estimator_has_its_section() -> None:
    sections = set(re.findall(r"^##+ (\w+)$", page("estimators.md"), flags=re.MULTILINE))
    options = {*ALIASES, *(path.stem for path in (ROOT / "conf" / "estimator").glob("*.yaml"))} - {"none"}
    assert options <= sections


def test_every_path_that_is_named_is_there() -> None:
    made = {"src/turnover/models/residual.py", "src/turnover/probes/participation.py"}  # by a reader
    made |= {
        "src/turnover/training/methods/sce.py",
        "conf/method/sce.yaml",
        "conf/model/residual.yaml",
        "conf/dataset/mydata.yaml",
    }
    made |= {"conf/experiment/gap.yaml", "conf/figure/gap.yaml", "src/turnover/experiments/figures/gap.py"}
    for name in PAGES:
        for path in re.findall(r"(?:src|conf|tests|scripts|outputs)/[\w/.-]*\w/?", page(name)):
            written = ("outputs/docs", "outputs/figures", "outputs/runs", "outputs/validate")
            if not path.startswith(written) and path not in made:
                assert (ROOT / path).exists(), f"docs/{name}: {path}"


# --- the configuration reference ---


def test_every_field_of_the_schema_is_in_the_reference_with_a_meaning() -> None:
    text = reference()
    for group in RunConfig.model_fields:
        for member in members(group):
            types, said = field_types(member), meanings(member)
            for field in set(member.model_fields) - {"name"}:
                assert said[field], f"{member.__name__}.{field} has no comment that says what it means"
                row = rf"^\| `{field}` \| {re.escape(types[field])} \| .*{re.escape(said[field])}"
                assert re.search(row, text, flags=re.MULTILINE), f"{group}: {field}"


def test_types_bounds_and_defaults_are_those_of_schema_and_conf() -> None:
    text = reference()
    assert "| `p` | number > 0, < 1 | `0.5` | share of the units that an example trains |" in text
    assert "| `epochs` | integer ≥ 1 | `3` (smoke), `20` (laptop), `200` (paper) | passes over the examples |" in text
    assert "| `path` | text | must be given |" in text
    assert "`estimator=vog`: Variance over epochs" in text
    assert "- `corruption=labels`: count `500` (smoke), `20000` (laptop), `20000` (paper)" in text
    assert "a RunConfig" in text


def test_a_comment_above_or_behind_a_field_is_its_meaning() -> None:
    from turnover.config.options import CorruptionConfig, WandbLogger

    assert meanings(CorruptionConfig)["count"] == "how many training labels are replaced"
    assert meanings(CorruptionConfig)["kind"].startswith("random: by a uniformly random class, which may be the true")
    assert set(meanings(WandbLogger)) == set(WandbLogger.model_fields)


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_commands_of_the_page_describe_runs_at_every_scale(scale: str) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", page("configuration.md"), flags=re.DOTALL)
    commands = "\n".join(blocks).replace("\\\n", " ").splitlines()
    given = [shlex.split(command, comments=True)[1:] for command in commands if command and "--help" not in command]
    assert len(given) >= 5
    for script, *overrides in given:
        plain = [override for override in overrides if override != "-m" and not override.startswith("scale=")]
        assert sweep([*plain, f"scale={scale}"], Path(script).stem)


# --- what pages may ask for ---


def test_code_is_shown_as_it_stands_without_its_docstring() -> None:
    shown = source("turnover/core/masks.py:MaskRule.keep")
    assert shown.startswith(
        '```python title="src/turnover/core/masks.py"\ndef keep(self, units: int) -> float:\n    return '
    )
    assert "exact mean over examples" not in shown


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("<!-- turnover: weather -->", "nothing makes 'weather'"),
        ("<!-- turnover: source turnover/core/masks.py:gone -->", "has no gone"),
    ],
)
def test_a_page_that_asks_for_what_is_not_there_is_refused(mark: str, message: str) -> None:
    with pytest.raises(RunFailed, match=message):
        filled(mark)
