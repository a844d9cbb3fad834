"""What `actrec export` does: a trained svm as a file that scikit-learn works with, without actrec or torch."""

from pathlib import Path
from typing import TYPE_CHECKING

from actrec.errors import UserError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from actrec.models.svm_head import SvmHead


def export_svm(checkpoint: Path, out: Path) -> tuple[str, ...]:
    """Write {head: Pipeline(StandardScaler, LinearSVC)} with skops, and return the heads.

    What a pipeline takes are the features that the heads are shown, float (n, D): of hog the descriptors that
    `actrec.models.hog` makes. Its decision function is the model's logits times its temperature, of two classes the
    second one's. `skops.io.load(path)` reads the file without trusting any type.

    Args:
        checkpoint: A model that `train` wrote.
        out: The file; it is replaced.

    Raises:
        UserError: if there is no model, or its heads are no svm.
    """
    from actrec.models.svm_head import SvmHead
    from actrec.store.files import write_atomic
    from actrec.training.checkpoint import load_model

    model, about = load_model(checkpoint)
    heads = dict(zip(model.outputs, model.heads, strict=True))
    svms = {name: head for name, head in heads.items() if isinstance(head, SvmHead)}
    if len(svms) < len(heads):
        kinds = ", ".join(sorted({head["kind"] for head in about.model["heads"].values()}))
        raise UserError(
            f"{checkpoint}: its heads are {kinds}, and what is exported are support vector machines. Train one: "
            "model.heads.<head>.kind: svm, as recipes/images-hog.yaml has it"
        )
    from skops import io

    pipelines = {name: _pipeline(svm, about.classes[name]) for name, svm in svms.items()}
    write_atomic(out, io.dumps(pipelines))
    return tuple(pipelines)


def _pipeline(svm: "SvmHead", class_names: tuple[str, ...]) -> "Pipeline":
    import numpy as np
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    mean, scale, coef, intercept = (part.double().numpy() for part in (svm.mean, svm.scale, svm.coef, svm.intercept))
    own = slice(1, None) if len(class_names) == 2 else slice(None)
    scaler, linear = StandardScaler(), LinearSVC()
    vars(scaler).update(mean_=mean, scale_=scale, var_=scale**2, n_features_in_=len(mean))
    vars(linear).update(coef_=coef[own], intercept_=intercept[own], n_features_in_=len(mean))
    linear.classes_ = np.array(class_names)
    return Pipeline([("scale", scaler), ("svm", linear)])
