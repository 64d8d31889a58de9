"""Clusters, stability, outliers, diversity, labels: functions over arrays."""

import gzip
import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_app.analysis import clusters, diversity, labels, outliers, regression, stability
from search_app.analysis.calibration import calibration_of
from search_app.analysis.clusters import NONE, Method
from search_app.analysis.labels import Classifier
from search_app.analysis.naming import log_odds, names_of
from search_app.analysis.neighbours import neighbourhood
from search_app.analysis.quality import agreement_with, quality_of
from search_app.analysis.regression import Regressor
from search_app.errors import InvalidInputError
from search_app.mmr import mmr_order
from search_app.types import Matrix

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None,
    reason="needs scikit-learn: pip install 'unmoved[analysis]'",
)


def unit(rows: np.ndarray) -> Matrix:
    scaled: Matrix = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def groups(
    number: int, each: int, *, spread: float = 0.15, seed: int = 0
) -> tuple[Matrix, list[int]]:
    """Rows around orthogonal directions, mixed, and the direction of each."""
    draw = np.random.default_rng(seed)
    truth = draw.permutation(np.repeat(np.arange(number), each))
    rows = np.eye(number, 16)[truth] + spread * draw.standard_normal((len(truth), 16)) / 2
    return unit(rows), truth.tolist()


@pytest.mark.parametrize("method", list(Method))
def test_groups_that_lie_apart_are_found_whole(method: Method) -> None:
    rows, truth = groups(4, 30)
    number = 10 if method is Method.HDBSCAN else 4
    found = clusters.clusters_of(rows, method, number=number, seed=1)
    assert set(found.tolist()) == {0, 1, 2, 3}
    agreement = agreement_with(found, [f"g{each}" for each in truth], "meta.group")
    assert agreement is not None
    assert agreement.ari == pytest.approx(1)
    assert agreement.nmi == pytest.approx(agreement.v_measure)
    again = clusters.clusters_of(rows, method, number=number, seed=1)
    assert found.tolist() == again.tolist()


def test_a_sample_is_clustered_and_the_others_join_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clusters, "WARD_AT_MOST", 40)
    rows, truth = groups(4, 30)
    found = clusters.clusters_of(rows, Method.AGGLOMERATIVE, number=4, seed=1)
    agreement = agreement_with(found, truth, "meta.group")
    assert agreement is not None
    assert agreement.ari == pytest.approx(1)


def test_what_lies_beyond_the_sampled_clusters_stays_in_none() -> None:
    rows, truth = groups(4, 30, spread=0.05)

    def cluster(some: Matrix) -> clusters.Labels:
        found: clusters.Labels = some[:, :4].argmax(axis=1).astype(np.int64)
        found[found == 3] = NONE
        return found

    found = clusters._on_sample(rows, 60, 0, cluster)
    strays = np.array(truth) == 3
    assert (found[strays] == NONE).all()
    inside = ~strays & (found != NONE)
    # Those at the fringe of a cluster may be left out, no more.
    assert inside.sum() > 0.8 * (~strays).sum()
    assert found[inside].tolist() == np.array(truth)[inside].tolist()


def test_clusters_are_numbered_by_size() -> None:
    found = clusters.by_size(np.array([7, 7, 3, 3, 3, -1, 9]))
    assert found.tolist() == [1, 1, 0, 0, 0, -1, 2]


def test_the_number_of_groups_is_suggested_with_its_lead() -> None:
    rows, _ = groups(5, 30)
    suggestion = clusters.suggested_number(rows, seed=0)
    assert suggestion.number == 5
    ranked = sorted((score for _, score in suggestion.silhouettes), reverse=True)
    assert suggestion.gap == pytest.approx(ranked[0] - ranked[1])


@pytest.mark.parametrize(
    ("rows", "number", "words"),
    [
        (0, None, "3 passages or more and there is no passage"),
        (1, None, "there is 1 passage"),
        (2, None, "there are 2 passages"),
        (10, 10, "10 clusters cannot be made of 10 vectors"),
        (10, 1, "1 clusters cannot be made"),
    ],
)
def test_what_cannot_be_clustered_is_said(rows: int, number: int | None, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        clusters.check_clusterable(groups(5, 2)[0][:rows], number)


def test_ten_passages_can_be_clustered() -> None:
    rows, _ = groups(2, 5)
    clusters.check_clusterable(rows, None)
    suggestion = clusters.suggested_number(rows, seed=0)
    assert suggestion.number == 2
    found = clusters.clusters_of(rows, Method.KMEANS, number=2, seed=0)
    assert quality_of(rows, found, seed=0).silhouette is not None


def test_equal_vectors_are_nothing_to_cluster() -> None:
    with pytest.raises(InvalidInputError, match="all 50 passages have the same vector"):
        clusters.check_clusterable(np.tile(unit(np.ones((1, 4))), (50, 1)), None)


def test_quality_leaves_out_rows_in_no_cluster_and_needs_two_clusters() -> None:
    rows, truth = groups(3, 20)
    found = np.array(truth, np.int64)
    whole = quality_of(rows, found, seed=0)
    assert whole.silhouette is not None
    assert whole.silhouette > 0.5
    assert len(whole.silhouettes) == 3
    one = quality_of(rows, np.zeros(60, np.int64), seed=0)
    assert one.silhouette is None
    assert one.davies_bouldin is None
    assert agreement_with(np.full(60, NONE), truth, "meta.x") is None


@given(distance=st.floats(1e-6, 0.5), seed=st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_noise_has_the_size_that_was_asked_for(distance: float, seed: int) -> None:
    rows, _ = groups(3, 5, seed=seed)
    moved = stability.moved(rows, distance, np.random.default_rng(seed))
    apart = ((moved.astype(float) - rows) ** 2).sum(axis=1) / 2
    assert np.allclose(apart, distance, rtol=0.02, atol=2e-7)


def test_clear_groups_are_stable_and_a_cut_through_one_cloud_is_not() -> None:
    clear, _ = groups(3, 30)
    cloud = unit(np.random.default_rng(0).standard_normal((90, 16)))

    def cluster(rows: Matrix, seed: int) -> clusters.Labels:
        return clusters.clusters_of(rows, Method.KMEANS, number=3, seed=seed)

    for rows, low, high in ((clear, 0.99, 1.0), (cloud, 0.0, stability.STABLE)):
        found = cluster(rows, 0)
        again = stability.under_resampling(rows, found, cluster, repeats=4, seed=0)
        assert low <= np.mean(again.jaccards) <= high
        noisy = stability.under_noise(rows, found, cluster, distance=0.3, repeats=3, seed=0)
        assert (noisy.ari > 0.9) == (rows is clear)
    still = stability.under_noise(cloud, found, cluster, distance=0.0, repeats=3, seed=0)
    assert still.aris == [1.0]


def test_jaccard_is_that_of_the_most_similar_cluster() -> None:
    found = stability.best_jaccards(
        np.array([0, 0, 0, 0, 1, 1]), np.array([5, 5, 5, 2, 2, 2]), number=3
    )
    assert found[:2].tolist() == [3 / 4, 2 / 3]
    assert math.isnan(found[2])


def test_names_are_words_that_set_a_cluster_apart_as_they_are_written() -> None:
    texts = [
        *(f"The harbour office opens. Ferries leave the harbour {n}" for n in range(8)),
        *(f"Telescopes and the observatory at night, telescopes {n}" for n in range(8)),
        *("図書館は毎週月曜日に休館します。図書館のカウンター" for _ in range(8)),
    ]
    harbour, sky, library = names_of(texts, np.repeat(np.arange(3), 8))
    assert "harbour" in {term.text for term in harbour.terms}
    assert "telescopes" in {term.text for term in sky.terms}
    assert "図書館" in {term.text for term in library.terms}
    assert "the" not in {term.text for term in harbour.terms}
    assert all(0 < term.share <= 1 for term in harbour.terms)


def test_a_cluster_without_texts_has_no_name() -> None:
    assert [name.text for name in names_of(["", "…"], np.array([0, 1]))] == ["", ""]


def test_log_odds_do_not_favour_a_rare_term_over_a_common_one() -> None:
    scores = log_odds(np.array([[50.0, 5.0], [1.0, 0.0], [100.0, 100.0]]))
    assert scores[0, 0] > scores[1, 0] > scores[2, 0]


def test_neighbours_are_those_of_plain_comparison() -> None:
    rows = unit(np.random.default_rng(1).standard_normal((700, 8)))
    found = neighbourhood(rows, 5)
    cosines = rows.astype(float) @ rows.T.astype(float)
    np.fill_diagonal(cosines, -2)
    expected = -np.sort(-cosines, axis=1)[:, :5]
    assert np.allclose(1 - found.distances, expected, atol=1e-6)
    assert (found.places != np.arange(700)[:, None]).all()


def test_a_stray_row_is_far_and_copies_make_a_group() -> None:
    rows, _ = groups(3, 30, spread=0.1)
    rows[7] = unit(-rows.mean(axis=0, keepdims=True))[0]
    rows[20] = rows[40] = rows[60]
    found = outliers.outlying(rows, k=5, cosine=0.999999)
    assert found.far[0] == 7
    assert found.lof[7] == found.lof.max()
    assert found.groups == [[20, 40, 60]]


def test_a_text_that_is_there_twice_can_be_far_from_all_else() -> None:
    rows, _ = groups(3, 30, spread=0.1)
    rows[7] = rows[8] = unit(-rows.mean(axis=0, keepdims=True))[0]
    assert outliers.outlying(rows, k=5).far[:2] == [7, 8]


def test_equal_vectors_are_one_group_and_no_outliers() -> None:
    found = outliers.outlying(np.tile(unit(np.ones((1, 4))), (40, 1)))
    assert found.far == []
    assert [len(group) for group in found.groups] == [40]


def test_the_local_outlier_factor_is_that_of_scikit_learn() -> None:
    from sklearn.neighbors import LocalOutlierFactor

    rows = unit(np.random.default_rng(1).standard_normal((80, 6)))
    found = outliers.outlying(rows, k=7)
    model = LocalOutlierFactor(n_neighbors=7, metric="cosine").fit(rows.astype(float))
    assert np.allclose(found.lof, -model.negative_outlier_factor_, rtol=1e-3)


def test_documents_in_a_rare_language_stand_out_in_their_folder() -> None:
    fields = [{"language": "en", "folder": ["docs", "docs/en"]} for _ in range(19)]
    fields += [{"language": "ja", "folder": ["docs", "docs/ja"]} for _ in range(19)]
    assert outliers.foreign_documents(fields) == []
    fields[3] = {"language": "ja", "folder": ["docs", "docs/en"]}
    (found,) = outliers.foreign_documents(fields)
    assert (found.document, found.language, found.usual) == (3, "ja", "en")
    assert found.folder == "docs/en"


@given(number=st.integers(2, 30), dimensions=st.integers(2, 12), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_diversity_is_what_its_formulas_say(number: int, dimensions: int, seed: int) -> None:
    rows = unit(np.random.default_rng(seed).standard_normal((number, dimensions)))
    measured = diversity.diversity_of(rows)
    cosines = rows.astype(float) @ rows.T.astype(float)
    pairs = cosines[~np.eye(number, dtype=bool)]
    assert measured.mean_distance == pytest.approx(1 - pairs.mean(), abs=1e-5)
    shares = np.linalg.eigvalsh(cosines / number)
    shares = shares[shares > 1e-12]
    assert measured.vendi == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-4)
    assert 1 - 1e-6 <= measured.vendi <= min(number, dimensions) + 1e-6


def test_vendi_counts_what_is_orthogonal_and_not_what_is_equal() -> None:
    assert diversity.vendi_score(np.eye(7, dtype=np.float32)) == pytest.approx(7)
    assert diversity.vendi_score(np.tile(np.eye(1, 7, dtype=np.float32), (9, 1))) == pytest.approx(
        1
    )
    with pytest.raises(InvalidInputError, match="diversity needs 2 passages"):
        diversity.diversity_of(np.eye(1, 7, dtype=np.float32))


def test_groups_are_compared_at_equal_size() -> None:
    narrow, wide = np.tile(np.eye(1, 16, dtype=np.float32), (40, 1)), groups(4, 5)[0]
    names = ["narrow"] * 40 + ["wide"] * 20 + [None] + ["alone"]
    found = diversity.by_group(np.vstack([narrow, wide, wide[:2]]), names)
    assert [each.name for each in found] == ["narrow", "wide"]
    assert {each.size for each in found} == {20}
    assert found[0].vendi_at_size == pytest.approx(1)
    assert found[1].vendi_at_size == pytest.approx(found[1].diversity.vendi)


def test_varied_hits_leave_the_best_first_and_push_back_its_likes() -> None:
    rows = [unit(np.array([row]))[0] for row in ([1, 0, 0], [1, 0.01, 0], [0, 1, 0], [0, 0, 1])]
    scores = [1.0, 0.99, 0.8, 0.3]
    assert mmr_order(rows, scores, 1.0) == [0, 1, 2, 3]
    assert mmr_order(rows, scores, 0.5) == [0, 2, 3, 1]
    assert mmr_order([None, None], [2.0, 1.0], 0.5) == [0, 1]
    assert mmr_order([], [], 0.5) == []


@given(
    rows=st.integers(1, 12),
    weight=st.floats(0, 1),
    seed=st.integers(0, 100),
)
@settings(max_examples=40, deadline=None)
def test_varied_hits_are_the_same_hits(rows: int, weight: float, seed: int) -> None:
    vectors = unit(np.random.default_rng(seed).standard_normal((rows, 4)))
    scores = sorted(np.random.default_rng(seed + 1).standard_normal(rows).tolist(), reverse=True)
    order = mmr_order(list(vectors), scores, weight)
    assert sorted(order) == list(range(rows))
    assert order[0] == 0 or weight == 0 or scores[order[0]] == scores[0]


@pytest.mark.parametrize(
    "method", [Classifier.KNN, Classifier.LOGISTIC, pytest.param(Classifier.FOREST)]
)
def test_labels_are_learnt_and_judged_on_what_was_not_seen(
    method: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "TREES", 20)
    rows, truth = groups(3, 12)
    report = labels.cross_validated(method, rows, [f"l{each}" for each in truth])
    assert report.accuracy.value > 0.9
    assert report.accuracy.low <= report.accuracy.value <= report.accuracy.high
    assert np.sum(report.confusion) == 36
    assert report.probabilities.sum(axis=1) == pytest.approx(np.ones(36))
    assert sum(each.count for each in report.calibration.bins) == 36


def test_labels_without_meaning_are_not_learnt() -> None:
    rows, _ = groups(3, 30)
    given = np.random.default_rng(5).permutation(["a", "b"] * 45).tolist()
    report = labels.cross_validated(Classifier.KNN, rows, given)
    assert 0.3 < report.accuracy.value < 0.7
    assert report.baseline == 0.5


def test_documents_of_one_group_are_never_on_both_sides() -> None:
    # Each pair of twins has a random label: only its twin gives it away.
    draw = np.random.default_rng(2)
    rows = np.repeat(unit(draw.standard_normal((60, 24))), 2, axis=0)
    given = np.repeat(draw.permutation(["a", "b"] * 30), 2).tolist()
    twins = np.repeat([f"pair {each}" for each in range(60)], 2).tolist()
    leaking = labels.cross_validated(Classifier.KNN, rows, given)
    kept_apart = labels.cross_validated(Classifier.KNN, rows, given, groups=twins)
    assert leaking.accuracy.value > 0.75
    assert kept_apart.accuracy.value < 0.7


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["a"] * 3, "3 documents have the field"),
        (["a"] * 20, "all 20 documents that have the field 'meta.x' say 'a'"),
        ([str(n) for n in range(20)], "labels that documents share are needed"),
    ],
)
def test_what_cannot_be_learnt_from_is_said(given: list[str], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        labels.check_labelled(given, "meta.x")


def test_the_temperature_makes_zero_shot_probabilities_honest() -> None:
    rows, truth = groups(3, 40, spread=1.2)
    names = np.eye(3, 16, dtype=np.float32)
    report = labels.zero_shot_report(rows, names, ["a", "b", "c"], np.array(truth), seed=0)
    cold = calibration_of(labels.zero_shot(rows, names, 0.001), np.array(truth))
    assert report.accuracy.value > report.baseline
    assert report.calibration.log_loss < cold.log_loss


def test_calibration_is_what_its_formulas_say() -> None:
    probabilities = np.array([[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.3, 0.7]])
    found = calibration_of(probabilities, np.array([0, 0, 1, 1]))
    assert found.ece == pytest.approx((3 * abs(2 / 3 - 0.8) + abs(1 - 0.7)) / 4)
    assert found.brier == pytest.approx((0.08 + 0.08 + 1.28 + 0.18) / 4)
    assert found.log_loss == pytest.approx(-np.log([0.8, 0.8, 0.2, 0.7]).mean())


@pytest.mark.parametrize("method", list(Regressor))
def test_a_number_is_predicted(method: Regressor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "TREES", 20)
    rows = unit(np.random.default_rng(0).standard_normal((80, 6)))
    report = regression.cross_validated(method, rows, 10.0 * rows[:, 0].astype(float) + 3)
    assert report.r2.value > (0.95 if method is Regressor.RIDGE else 0.5)
    assert report.mae.value < report.baseline_mae
    assert report.spearman > 0.7


def test_numbers_that_do_not_differ_are_nothing_to_learn() -> None:
    with pytest.raises(InvalidInputError, match="all 20 documents have 3 in the field"):
        regression.check_numbers([3.0] * 20, "meta.year")
    with pytest.raises(InvalidInputError, match="2 documents have a number"):
        regression.check_numbers([3.0, 4.0], "meta.year")


POSTS = Path(__file__).parents[2] / "shared/data/newsgroups20/train_stripped.jsonl.gz"
MACHINES = (
    "From: anna@host.example.org (Anna)\nNNTP-Posting-Host: relay.example.edu\n"
    "In article <1993Apr05@host.edu> bob@host.edu writes:\n"
    "See http://www.example.org/pub/tools/index.html or ftp.example.edu, /usr/local/lib/tools "
    "and C:\\tools\\bin\\run.exe, or mail anna@host.example.org. Version v2 of x11r5 in read.me "
    "and setup.cfg.\n"
)


def test_what_is_written_for_machines_names_no_cluster() -> None:
    texts = [
        *(f"{MACHINES}The harbour of NASA and its ferries. {n}" for n in range(60)),
        *(f"A telescope at night, by the observatory. {n}" for n in range(60)),
    ]
    harbour, _ = names_of(texts, np.repeat(np.arange(2), 60))
    assert {term.text for term in harbour.terms} <= {
        *("harbour", "NASA", "ferries", "see", "version", "mail", "See", "Version")
    }
    japanese = [
        *(
            f"図書館はhttps://tosho.example.jp/riyou/annai.htmlをご覧ください。利用カード{n}番、"
            f"連絡先 mado@tosho.example.jp、書式 form.pdf"
            for n in range(60)
        ),
        *(f"船は港に入る。定期船の時刻表{n}" for n in range(60)),
    ]
    library, port = names_of(japanese, np.repeat(np.arange(2), 60))
    shown = {term.text for term in library.terms}
    assert "図書館" in shown
    assert not any(term.isascii() for term in shown)
    assert "定期船" in {term.text for term in port.terms}


def test_a_term_of_one_document_names_no_cluster_of_several() -> None:
    texts = ["ferry zanzibar ferry"] * 30 + ["ferry harbour"] * 50 + ["telescope"] * 40
    labels = np.array([0] * 80 + [1] * 40)
    many, _ = names_of(texts, labels, documents=[0] * 30 + list(range(1, 91)))
    assert {term.text for term in many.terms} == {"ferry", "harbour"}
    # Of one document it is what the cluster is about.
    alone, _ = names_of(texts, labels, documents=[0] * 80 + list(range(1, 41)))
    assert "zanzibar" in {term.text for term in alone.terms}


@pytest.mark.skipif(not POSTS.is_file(), reason="the newsgroups are not here")
def test_names_of_real_posts_are_words_for_readers() -> None:
    lines = gzip.decompress(POSTS.read_bytes()).decode().split("\n")
    rows = [json.loads(line) for line in lines if line.strip()]
    groups = ("rec.sport.hockey", "comp.windows.x", "sci.space")
    texts: list[str] = []
    labels: list[int] = []
    for label, group in enumerate(groups):
        found = [row["text"] for row in rows if row["id"].startswith(f"{group}/")][:150]
        texts += found
        labels += [label] * len(found)
    names = names_of(texts, np.array(labels))
    terms = [term.text for name in names for term in name.terms]
    assert all(term.isalpha() for term in terms)
    assert not {term.casefold() for term in terms} & {
        *("com", "edu", "http", "www", "ftp", "org", "writes", "article", "subject", "uk", "txt")
    }
    for name, word in zip(names, ("game", "window", "space"), strict=True):
        assert any(word in term.text.casefold() for term in name.terms)
