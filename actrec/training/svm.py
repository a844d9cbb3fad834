"""Heads that are fitted at once: linear support vector machines on cached features, for each C that is to be tried."""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning_fabric import Fabric

from actrec.console import say
from actrec.errors import UserError
from actrec.metric_names import val_column
from actrec.metrics.summary import summarise
from actrec.models.recogniser import Recogniser
from actrec.outputs import output_and_metric
from actrec.training.data import Inputs
from actrec.training.device import peak_memory_mb
from actrec.training.fit import Fitted, Row
from actrec.training.labels import NO_LABEL, in_class_order
from actrec.training.predict import predict
from actrec.training.randomness import derive
from actrec.training.scores import scores_of
from actrec.training.settings import Settings
from actrec.training.sources import Batches, Source, aligned
from actrec.training.state import State

if TYPE_CHECKING:
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

# Of scikit-learn's solvers; the features of pictures take them 5 to 500.
_MAX_ITERATIONS = 10_000
# In which the mean difference of a clip's largest and smallest logit lies: without a mistake on val the likeliest
# temperature is 0.
_LOGIT_RANGES = (0.1, 20.0)

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Data:
    """What a head is fitted to: standardised features (n * views, D) of n clips, and numbers of classes."""

    head: str
    class_names: Sequence[str]
    scaler: "StandardScaler"
    features: np.ndarray
    labels: np.ndarray
    views: int


class SvmRun:
    """Fits every head on train, the plain views and the random ones alike, and chooses its C on val.

    That is the smallest of those with the best score: of the head that `settings.select_on` names by its metric, of
    others by the same metric of theirs. Logits are divided by the temperature that makes the labels of val likeliest.
    Clips without a label for a head count in neither.

    Args:
        model: Fresh; its heads are `SvmHead`s. They are filled in.
        inputs: The clips, with their features.
        settings: Of these select_on, class_weights and, for validation, batch_size.
        fabric: The device that predicts; the fitting is done on the CPU.
        heads: The section `model.heads`.
        classes: The class names of each head.
        seed: Of the order in which one of the solvers goes through the clips.
    """

    def __init__(
        self,
        model: Recogniser,
        inputs: Inputs,
        *,
        settings: Settings,
        fabric: Fabric,
        heads: Mapping[str, Any],
        classes: Mapping[str, Sequence[str]],
        seed: int,
    ) -> None:
        self._settings, self._fabric, self._heads, self._classes = settings, fabric, heads, classes
        self._model: Any = fabric.to_device(model.eval())
        self._train, self._val = (
            inputs.source(split, backbones={}, augment={}, seed=seed) for split in ("train", "val")
        )
        self._train_features = _features(model, inputs, self._train, with_random=True)
        self._val_features = _features(model, inputs, self._val, with_random=False)
        self._solver_seed = derive(seed, "svm") % 2**32
        self.state = State()

    def fit(self, log: Callable[[Row], object]) -> Fitted:
        """Fit all heads; the one that chooses `is_best` in the history comes last.

        Args:
            log: Called with the row of each C.

        Raises:
            UserError: if a head has clips of fewer than two classes in train, or for none of its C a solution is found.
        """
        selected, _ = output_and_metric(self._settings.select_on)
        best, last = {}, {}
        for head in sorted(self._heads, key=lambda name: name == selected):
            best[head], last[head] = self._fit_head(head, log)
        columns = dict.fromkeys(name for row in self.state.history for name in row)
        history = [{name: row.get(name) for name in columns} for row in self.state.history]
        chosen = [int(row["epoch"]) for row in self.state.history if row["is_best"]]
        return Fitted(history, self._with(best), self._with(last), chosen[-1])

    def _fit_head(self, head: str, log: Callable[[Row], object]) -> tuple[Tensors, Tensors]:
        """Return the state of the head with the C that is chosen, and with the largest one."""
        data, states, rows = self._data(head), [], []
        for c in sorted(set(self._heads[head]["c"])):
            started = time.perf_counter()
            svm = solve(
                data.features,
                data.labels,
                c=c,
                class_weights=self._class_weights(data.class_names),
                seed=self._solver_seed,
            )
            row = self._row(data, c, svm, started)
            self.state.history.append(row)
            log(row)
            if svm is None:
                say(f"{head}: no solution for C = {c:g} after {_MAX_ITERATIONS} iterations, so it is not chosen")
            else:
                states.append(_copy(self._module(head).state_dict()))
                rows.append(row)
        if not rows:
            raise UserError(
                f"model.heads.{head}.c: for none of {self._heads[head]['c']} has scikit-learn's LinearSVC a solution "
                f"after {_MAX_ITERATIONS} iterations. Add smaller ones, such as {min(self._heads[head]['c']) / 100:g}"
            )
        sign = 1 if self._settings.lower_is_better else -1
        chosen = min(range(len(rows)), key=lambda i: sign * rows[i]["val_score"])
        rows[chosen]["is_best"] = True
        return states[chosen], states[-1]

    def _data(self, head: str) -> _Data:
        from sklearn.preprocessing import StandardScaler

        shown, labels = _labelled(self._train, self._train_features, head)
        names = self._classes[head]
        found = [str(names[number]) for number in np.unique(labels)]
        if len(found) < 2:
            raise UserError(
                f"{head}: the clips of train are of the classes {found}, and an "
                "svm tells two or more apart. Mend the labels or the splits, or take the head out of model.heads"
            )
        views, scaler = shown.shape[1], StandardScaler()
        features = scaler.fit_transform(shown.reshape(-1, shown.shape[2]))
        return _Data(head, names, scaler, features, labels.repeat(views), views)

    def _row(self, data: _Data, c: float, svm: "LinearSVC | None", started: float) -> Row:
        """Fill the head in and return its row of the history."""
        solved_s, scores, temperature, train_loss = time.perf_counter() - started, {}, None, None
        if svm is not None:
            module = self._module(data.head)
            module.load_state_dict(head_state(data.scaler, svm, num_classes=len(data.class_names)))
            temperature = best_temperature(*self._judged(self._val, self._val_features, data.head))
            module.temperature.fill_(temperature)
            train_loss = _cross_entropy(*self._judged(self._train, self._train_features, data.head))
            scores = self._validate(data.head)
        return {
            "epoch": len(self.state.history) + 1,
            "phase": data.head,
            "c": c,
            "temperature": temperature,
            "lr": None,
            "train_loss": train_loss,
            "val_score": scores.get(val_column(data.head, output_and_metric(self._settings.select_on)[1])),
            **scores,
            "train_clips": len(data.labels) // data.views,
            "data_s": 0.0,
            "compute_s": round(solved_s, 4),
            "epoch_s": round(time.perf_counter() - started, 4),
            "peak_memory_mb": round(peak_memory_mb(self._fabric.device), 1),
            "is_best": False,
        }

    def _validate(self, head: str) -> dict[str, float]:
        device, batch_size = self._fabric.device, self._settings.batch_size
        probs = predict(self._model, Batches(self._val), device=device, batch_size=batch_size)
        (scores,) = scores_of("val", self._val, {head: probs[head]}, self._classes)
        values = summarise(scores).items()
        return {val_column(head, name): value for name, value in values if not name.startswith("num_")}

    @torch.inference_mode()
    def _judged(self, source: Source, features: np.ndarray, head: str) -> tuple[np.ndarray, np.ndarray]:
        """Return logits (n, views, classes) of the clips that have a label for the head, and those labels (n,)."""
        shown, labels = _labelled(source, features, head)
        logits = self._module(head)(torch.from_numpy(shown).to(self._fabric.device))
        return logits.cpu().numpy(), labels

    def _class_weights(self, class_names: Sequence[str]) -> str | dict[int, float]:
        chosen = self._settings.class_weights
        return chosen if isinstance(chosen, str) else dict(enumerate(in_class_order(chosen, class_names)))

    def _module(self, head: str) -> Any:
        return self._model.heads[self._model.outputs.index(head)]

    def _with(self, states: Mapping[str, Tensors]) -> Tensors:
        for head, state in states.items():
            self._module(head).load_state_dict(state)
        return _copy(self._model.state_dict())


def solve(
    features: np.ndarray, labels: np.ndarray, *, c: float, class_weights: "str | dict[int, float]", seed: int
) -> "LinearSVC | None":
    """Return a fitted LinearSVC, or None if its solver found no solution; the same arguments give the same one.

    Args:
        features: float (n, D), standardised.
        labels: int (n,).
        c: How much a clip on the wrong side counts, against a wide margin.
        class_weights: `none`; `balanced`, see `Loss`; or {class: weight}.
        seed: Of the order in which the dual solver goes through the clips.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    svm = LinearSVC(
        C=c,
        dual=len(features) < features.shape[1],  # the smaller of the two problems; what "auto" means may change
        class_weight=None if class_weights == "none" else class_weights,
        max_iter=_MAX_ITERATIONS,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return svm.fit(features, labels)
        except ConvergenceWarning:
            return None


def head_state(scaler: "StandardScaler", svm: "LinearSVC", *, num_classes: int) -> Tensors:
    """Return the state of a `SvmHead`, its temperature 1.

    Of two classes scikit-learn has one margin, that of the second; the first one's is its opposite. A class that no
    clip was of has what a machine says that has only seen others: -1, whatever it looks at.
    """
    coef, intercept = svm.coef_, svm.intercept_
    if len(svm.classes_) == 2:
        coef, intercept = np.concatenate([-coef, coef]), np.concatenate([-intercept, intercept])
    all_coef = np.zeros((num_classes, coef.shape[1]))
    all_intercepts = np.full(num_classes, -1.0)
    all_coef[svm.classes_], all_intercepts[svm.classes_] = coef, intercept
    parts = {"mean": scaler.mean_, "scale": scaler.scale_, "coef": all_coef, "intercept": all_intercepts}
    return {
        **{name: torch.as_tensor(part, dtype=torch.float32) for name, part in parts.items()},
        "temperature": torch.ones(()),
    }


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return what to divide logits by so that the labels become likeliest; 1 where nothing tells.

    Args:
        logits: float (n, views, classes); the probabilities of a clip's views are averaged.
        labels: int (n,).

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    spread = float(np.ptp(logits, axis=-1).mean()) if len(logits) else 0.0
    if not spread:
        return 1.0
    from scipy.optimize import minimize_scalar

    low, high = (math.log(spread / wide) for wide in reversed(_LOGIT_RANGES))
    found: Any = minimize_scalar(
        lambda log_t: _cross_entropy(logits / math.exp(log_t), labels),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(found.x)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of -log p of the labels (n,), where p is the mean over views of logits (n, views, classes)."""
    log_probs = torch.from_numpy(logits).double().log_softmax(dim=-1)
    log_mean = log_probs.logsumexp(dim=1) - math.log(logits.shape[1])
    return -float(log_mean.gather(1, torch.from_numpy(labels)[:, None]).mean())


def _labelled(source: Source, features: np.ndarray, head: str) -> tuple[np.ndarray, np.ndarray]:
    labels = source.labels[head].numpy()
    known = labels != NO_LABEL
    return features[known], labels[known]


def _features(model: Recogniser, inputs: Inputs, source: Source, *, with_random: bool) -> np.ndarray:
    """Return what the heads are shown of each clip, float32 (n, views, D), the plain views first."""
    assert inputs.features is not None, "the schema has seen to that"
    assert model.neck is not None, "likewise"
    features, ids = inputs.features, [clip.clip_id for clip in source.clips]
    views, present = {}, {}
    for modality in features.modalities:
        seen = [features.plain(modality, ids), *([features.augmented(modality, ids)] if with_random else [])]
        views[modality] = torch.from_numpy(np.concatenate(seen, axis=1))
        present[modality] = torch.from_numpy(features.present(modality, ids))
    rows = aligned(views, present)
    tokens = {modality: rows[modality] for modality in views}
    return model.neck(tokens, rows["present"]).unflatten(0, (len(ids), rows["views"])).numpy()


def _copy(state: Mapping[str, torch.Tensor]) -> Tensors:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
