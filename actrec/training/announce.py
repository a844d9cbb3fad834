"""What a training run says of itself before its first epoch: the settings that matter, and how many clips there are."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from actrec.data.manifest import SPLITS, Manifest
from actrec.words import counted

# Of more classes only their number, the smallest and the largest are told.
_MAX_NAMED = 12


def configuration_block(params: Mapping[str, Any], manifest: Manifest) -> list[str]:
    """Return lines on a run: recipe, model, how it learns, and how many clips there are of each split and class.

    Args:
        params: All of params.yaml as a plain dict.
        manifest: The clips that are used.
    """
    train, compute, model = params["train"], params["compute"], params["model"]
    weights = train["class_weights"]
    about = {
        "recipe": f"{params['recipe']}, seed {params['seed']}",
        "data": f"{params['data']['name']}, {params['data']['media']}",
        "model": _model(model),
        **({} if _is_fitted(model) else _steps(train)),
        "class weights": weights if isinstance(weights, str) else _listed(weights),
        "selects on": f"{train['select_on']}; of equals the {'smaller C' if _is_fitted(model) else 'lower loss'}",
        "device": f"{compute['device']}, {counted(compute['threads'], 'thread')}, {train['precision']}",
    }
    if unused := [head for head in manifest.heads if head not in model["heads"]]:
        about["not learned"] = f"{', '.join(unused)}: not in model.heads"
    rows = [*about.items(), *(row for head in model["heads"] for row in _counts(manifest, head))]
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {text}" for name, text in rows]


def start_text(params: Mapping[str, Any], manifest: Manifest, *, goes_on: bool, device: str) -> str:
    """Return what a run says when it starts: its configuration, and whether it goes on with an earlier one.

    Pictures that are stored smaller than the network takes them are told of: what they lack is not made up for.

    Args:
        params: See `configuration_block`.
        manifest: Likewise.
        goes_on: An interrupted run of the same experiment is taken up.
        device: What `auto` turned out to be.
    """
    devices = params["train"]["devices"]
    said = "going on with an interrupted run" if goes_on else "starting"
    where = f"{devices} x {device}" if devices > 1 else device
    return "\n".join([*configuration_block(params, manifest), *_enlarged(params), f"train: {said} on {where}"])


def _enlarged(params: Mapping[str, Any]) -> list[str]:
    rgb = params["model"]["backbones"].get("rgb")
    shown_px = round(params["frames"]["size_px"] * rgb["crop_frac"]) if rgb else 0
    if not rgb or rgb["input_px"] <= shown_px:
        return []
    part = ", of which the middle is shown" if rgb["crop_frac"] < 1 else ""
    return [f"pictures are enlarged from {shown_px} to {rgb['input_px']} px: frames.size_px stores no more{part}"]


def _is_fitted(model: Mapping[str, Any]) -> bool:
    return all(head["kind"] == "svm" for head in model["heads"].values())


def _model(model: Mapping[str, Any]) -> str:
    backbones = [_backbone(modality, section) for modality, section in model["backbones"].items()]
    neck = model["neck"]
    fused = " ".join(str(neck[key]) for key in ("kind", "fusion") if key in neck)
    heads = [f"{name} ({head['kind']})" for name, head in model["heads"].items()]
    return f"{' + '.join(backbones)}, {fused}, {', '.join(heads)}"


def _backbone(modality: str, section: Mapping[str, Any]) -> str:
    weights = section["weights"]
    source = next((str(weights[key]) for key in ("name", "id", "path") if key in weights), "no weights")
    notes = f"{source}, frozen" if section["frozen"] else source
    return f"{modality} {section['kind']}{section.get('depth', '')} ({notes})"


def _steps(train: Mapping[str, Any]) -> dict[str, str]:
    """Return what counts where a model learns step by step."""
    factor, accumulate = train["backbone_lr_factor"], train["accumulate"]
    patience, freeze = train["early_stopping"]["patience_epochs"], train["freeze"]["epochs"]
    optimizer, recall = train["optimizer"], train["soft_recall"]
    slower = f", backbones {train['lr'] * factor:g}" if factor != 1 else ""
    first = f", after {freeze} with frozen backbones" if freeze else ""
    stop = f", or until {patience} have brought no gain" if patience else ""
    return {
        "lr": f"{train['lr']:g}{slower}, schedule {train['schedule']['kind']}",
        "optimizer": f"{optimizer['kind']}, weight decay {optimizer['weight_decay']:g}",
        "batch size": f"{train['batch_size']}{f' x {accumulate}' if accumulate > 1 else ''}, {train['sampler']}",
        "epochs": f"{train['epochs']}{first}{stop}",
        **({"soft recall": _listed(recall)} if recall else {}),
    }


def _counts(manifest: Manifest, head: str) -> Iterator[tuple[str, str]]:
    """Yield for each split how many clips it has, in all and of each class of a head."""
    classes = manifest.classes[head]
    for split in SPLITS:
        clips = manifest.of_split(split)
        found = Counter(name for clip in clips for name in manifest.labels_of(clip, head))
        counts = {name: found[name] for name in classes}
        range_ = f"{len(classes)} classes, {min(counts.values())} to {max(counts.values())} clips each"
        told = range_ if len(classes) > _MAX_NAMED else _listed(counts)
        yield f"{head} {split}", f"{counted(len(clips), 'clip')}: {told}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
