"""Policies that others trained: checkpoints of ACT, from LeRobot and from the original code (Zhao et al. 2023, arXiv 2304.13705).

Neither package is needed: config, weights and statistics are read from files, and no pickle is executed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.conditions import Condition, Conditions, Number, Picture
from vaekit.distributions.likelihoods import LaplaceLikelihood
from vaekit.errors import UserError, near_matches, note
from vaekit.estimators.checks import check_settings
from vaekit.files import read_safetensors
from vaekit.fitted import Fitted
from vaekit.nets.act import PICTURE_MEAN, PICTURE_SCALE
from vaekit.nets.resnet import RESNETS, BasicBlock, Bottleneck, read_weights, some
from vaekit.nets.transformer import ACTIVATIONS
from vaekit.robots.actions import Actions
from vaekit.robots.actor import execution_of
from vaekit.robots.demonstrations import CAMERA
from vaekit.robots.pickled import Arrays
from vaekit.robots.policy import Policy
from vaekit.training.guards import first_bad, seeded

NAMES = {  # of tensors, or their beginnings: here, in LeRobot, in the original
    "encoder.cls": ("vae_encoder_cls_embed.weight", "cls_embed.weight"),
    "encoder.vectors.state.": ("vae_encoder_robot_state_input_proj.", "encoder_joint_proj."),
    "encoder.action.": ("vae_encoder_action_input_proj.", "encoder_action_proj."),
    "encoder.transformer.": ("vae_encoder.", "encoder."),
    "encoder.head.": ("vae_encoder_latent_output_proj.", "latent_proj."),
    "decoder.latent.": ("encoder_latent_input_proj.", "latent_out_proj."),
    "decoder.vectors.state.": ("encoder_robot_state_input_proj.", "input_proj_robot_state."),
    "decoder.vectors.environment_state.": ("encoder_env_state_input_proj.", "input_proj_env_state."),
    "decoder.token_positions": ("encoder_1d_feature_pos_embed.weight", "additional_pos_embed.weight"),
    "decoder.queries": ("decoder_pos_embed.weight", "query_embed.weight"),
    "decoder.encoder.": ("encoder.", "transformer.encoder."),
    "decoder.decoder.": ("decoder.", "transformer.decoder."),
    "decoder.head.": ("action_head.", "action_head."),
    "condition.backbones.0.": ("backbone.", "backbones.0.0.body."),
    "condition.project.": ("encoder_img_feat_input_proj.", "input_proj."),
}
# Tensors that do not affect the actions. The original reads the output of its first decoder layer (index 0 of the stack,
# normalised by the decoder's last norm): its checkpoints hold the later layers for nothing (tonyzhaozh/act#25).
IDLE = ("vae_encoder_pos_enc", r"pos_table|is_pad_head\..*|transformer\.decoder\.layers\.[1-9].*")

ONLY: dict[str, list[Any]] = {  # the values that a config may have; the first is the default
    "type": ["act"],
    "vision_backbone": list(RESNETS),
    "replace_final_stride_with_dilation": [False],
    # "glu" halves the hidden layer, whose size LeRobot's next layer does not expect: no checkpoint can have it.
    "feedforward_activation": list(ACTIVATIONS),
}
FPS = 50.0  # of ACT as published; checkpoints do not say theirs
ORIGINALS = ("policy_best.ckpt", "policy_last.ckpt")
STATISTICS = {"MEAN_STD": "mean std", "MIN_MAX": "min max", "QUANTILES": "q01 q99", "QUANTILE10": "q10 q90"}
STEPS = {  # of LeRobot's processors, which a policy here does as well or does not need
    "rename_observations_processor", "to_batch_processor", "device_processor",
    "normalizer_processor", "unnormalizer_processor",
}  # fmt: skip


@dataclass
class Scaling:
    """The network reads (value - mean) / scale; lists in the order of the vector, or of the colours."""

    mean: list[float]
    scale: list[float]


@dataclass
class Published:
    """The content of a checkpoint."""

    path: Path  # of the weights, for messages
    tensors: dict[str, Tensor]  # as the network names them
    column: int  # of NAMES, and of IDLE
    latent_dim: int
    chunk_size: int
    size: dict[str, Any]
    backbone: str  # of `RESNETS`
    actions: Scaling
    vectors: dict[str, Scaling]
    cameras: dict[str, tuple[int, int]]  # (height, width)
    colours: list[Scaling]  # of each camera, of values from 0 to 1
    objective: dict[str, Any]
    execute: str | int


def is_published(path: Path) -> bool:
    """Whether this is a checkpoint that `load_published` reads, or a folder with one."""
    if (path / "config.json").is_file():
        return read_json(path / "config.json").get("type") == "act"
    return path.suffix == ".ckpt" or any((path / name).is_file() for name in ORIGINALS)


def load_foreign(folder: Path) -> Policy | None:
    """Load a folder of LeRobot, or a .ckpt of ACT, at 50 actions per second, and note that rate. None for anything else."""
    if not is_published(folder):
        return None
    note(f"{folder} does not say how many actions a second it was trained for: {FPS:g} are taken")
    return load_published(folder)


def load_published(
    path: str | Path,
    *,
    execute: str | int | None = None,
    fps: float = FPS,
    cameras: Sequence[str] = ("top",),
    picture: tuple[int, int] = (480, 640),
    heads: int = 8,
    statistics: str | Path | None = None,
) -> Policy:
    """Load a trained `Policy` from a checkpoint of ACT. It acts with z = 0, as published, and saves and loads like any other.

    The original's statistics are a pickle. It is not executed: only NumPy arrays of numbers are read from it, and anything
    else that it would call is refused. An .npz with the same names works too.

    Args:
        path: a LeRobot folder (config.json, model.safetensors, and the normalisers' policy_preprocessor.json and
            policy_postprocessor.json, which older versions keep in the weights), or a checkpoint of the original code (or its
            folder: policy_best.ckpt before policy_last.ckpt) with dataset_stats.pkl beside it. Observations have vaekit's names:
            "state", "environment_state", "images.NAME"; LeRobot's have the prefix "observation.".
        execute: how chunks become actions, as for `Policy`. None: as the checkpoint says; the original plays whole chunks.
        fps: actions per second, which checkpoints do not give.
        cameras, picture, heads: for a checkpoint of the original code, which does not give them: the cameras' names, their
            (height, width), and the number of attention heads.
        statistics: the original's dataset_stats.pkl, or an .npz with action_mean, action_std, qpos_mean and qpos_std.

    Returns:
        A fitted `Policy`.

    Raises:
        UserError: something is missing, has another shape, or belongs to a kind of ACT that is not supported, such as one
            with dilated convolutions in the backbone.

    Example:
        >>> vaekit.load_published("no-such-folder")
        Traceback (most recent call last):
        vaekit.errors.UserError: ...
    """
    path = Path(path)
    if not path.exists():
        hub = (
            f" (if it is on the Hugging Face Hub: hf download {path} --local-dir {path.name})"
            if len(path.parts) == 2
            else ""
        )
        raise UserError(f"{path} does not exist: give a LeRobot folder{hub}, or a .ckpt of ACT")
    if not 0 < fps < float("inf"):
        raise UserError(f"fps is {fps}: give actions per second, above 0")
    if (path / "config.json").is_file():
        found = read_lerobot(path)
    else:
        found = read_original(checkpoint_in(path), cameras, picture, heads, statistics)
    return assembled(found, found.execute if execute is None else execute, fps)


def assembled(found: Published, execute: str | int, fps: float) -> Policy:
    policy = Policy(
        found.latent_dim, size=found.size, chunk_size=found.chunk_size, prior="standard", posterior="log_variance",
        likelihood={"name": "laplace", "scale": 1.0}, objective=found.objective,
        backbone={"name": found.backbone, "norm": "frozen", "shared": True}, z="mean", execute=execute, batch_size=8, learning_rate=1e-5,
    )  # fmt: skip
    check_settings(policy)
    execution_of(execute, found.chunk_size)
    kind = Actions(found.chunk_size, found.actions.mean, found.actions.scale, float(fps))
    seen: dict[str, Condition] = {name: Number(v.mean, v.scale) for name, v in found.vectors.items()}
    conditions = Conditions(seen | {name: Picture(*size) for name, size in found.cameras.items()})
    data: dict[str, Any] = {"source": None, "rows": 0, "published": str(found.path), "fingerprint": ""}
    if len(sizes := set(found.cameras.values())) == 1:
        height, width = sizes.pop()
        data["resize"] = [width, height]
    likelihood = LaplaceLikelihood(kind.event_shape, scale=1.0)
    likelihood.log_unit += kind.unit.log().reshape(-1, 1)
    with seeded(0):
        model = policy.build(kind, conditions, likelihood)
    tensors = converted(found, model.state_dict())
    if found.colours:
        tensors["condition.mean"] = torch.tensor([c.mean for c in found.colours]).reshape(-1, 3, 1, 1)
        tensors["condition.scale"] = torch.tensor([c.scale for c in found.colours]).reshape(-1, 3, 1, 1)
    model.load_state_dict(tensors)
    if bad := first_bad(model.state_dict()):
        raise UserError(f"{found.path}: {bad} is not finite, so the policy cannot act: get the weights again")
    said = {"name": "laplace", **likelihood.options}
    policy.fitted_ = Fitted("Policy", policy.get_params(deep=False), kind, conditions, said, model.eval(), 0, data)
    policy.fitted_.to(policy.device)
    return policy


def name_in(name: str, column: int) -> str | None:
    """The name of a tensor of `Policy.model_` in a column of NAMES; None if it is not there."""
    start = max((start for start in NAMES if name.startswith(start)), key=len, default=None)
    return None if start is None else NAMES[start][column] + name.removeprefix(start)


def converted(found: Published, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict `own` with the checkpoint's values."""
    theirs = {name: their_name for name in own if (their_name := name_in(name, found.column))}
    if not found.latent_dim:  # z is 0: the weights that make it, or multiply it, do not matter
        dropped = [name for name in theirs if name.startswith("encoder.") or name == "decoder.latent.weight"]
        for name in dropped:
            found.tensors.pop(theirs.pop(name), None)
    missing = [name for name in theirs.values() if name not in found.tensors]
    if missing:
        raise UserError(f"{found.path} lacks {some(missing)}: give the whole checkpoint of an ACT that has these parts")
    used, idle = set(theirs.values()), re.compile(IDLE[found.column])
    left = [name for name in found.tensors if name not in used and not idle.fullmatch(name)]
    if left:
        raise UserError(f"{found.path} holds {some(left)}, which is not a part of ACT with a {found.backbone}")
    tensors = dict(own)
    for name, their_name in theirs.items():
        value, shape = found.tensors[their_name], own[name].shape
        if shape not in (value.shape, (1, *value.shape)):
            raise UserError(
                f"{found.path}: {their_name} has the shape {tuple(value.shape)}, and has to have {tuple(shape)}: config, "
                "statistics and weights do not belong to one policy"
            )
        tensors[name] = value.reshape(shape)
    return tensors


# -- LeRobot ---------------------------------------------------------------------------------------------------------------


def read_lerobot(folder: Path) -> Published:
    config = read_json(folder / "config.json")
    for key, known in ONLY.items():
        if config.get(key, known[0]) not in known:
            raise UserError(
                f"{folder / 'config.json'}: {key} is {config[key]!r}, which is not supported"
                f"{near_matches(str(config[key]), map(str, known))}"
            )

    def whole(key: str) -> int:
        if type(config[key]) is not int or config[key] < 1:
            raise UserError(
                f"{folder / 'config.json'}: {key} is {config[key]!r}, and has to be a whole number, 1 or more"
            )
        return config[key]

    path = folder / "model.safetensors"
    held, _ = read_safetensors(path)
    tensors = {name.removeprefix("model."): value for name, value in held.items() if name.startswith("model.")}
    try:
        normaliser = Normaliser.read(folder, config, held)
        inputs, outputs = features(config, "input"), features(config, "output")
        vectors, cameras, colours = {}, {}, []
        for key, feature in inputs.items():
            kind, shape = feature["type"], feature["shape"]
            if kind == "VISUAL":
                name = CAMERA + key.removeprefix("observation.").removeprefix(CAMERA)
                cameras[name] = (int(shape[1]), int(shape[2]))
                colours.append(normaliser.scaling(key, kind, 3))
            elif kind == "ENV" or key == "observation.state":  # LeRobot's looks at no other
                name = "environment_state" if kind == "ENV" else "state"
                vectors[name] = normaliser.scaling(key, kind, shape[0])
        coefficient = config.get("temporal_ensemble_coeff")
        return Published(
            path, tensors, 0,
            latent_dim=whole("latent_dim") if config["use_vae"] else 0,
            chunk_size=whole("chunk_size"),
            size=dict(
                width=whole("dim_model"), heads=whole("n_heads"), hidden=whole("dim_feedforward"),
                layers=whole("n_encoder_layers"), decoder_layers=whole("n_decoder_layers"),
                posterior_layers=whole("n_vae_encoder_layers"), dropout=config["dropout"], posterior_sees=["state"],
                activation=config.get("feedforward_activation", "relu"), norm_first=config.get("pre_norm", False),
            ),
            backbone=config.get("vision_backbone", "resnet18"),
            actions=normaliser.scaling("action", "ACTION", outputs["action"]["shape"][0]),
            vectors={name: vectors[name] for name in ("state", "environment_state") if name in vectors},
            cameras=cameras,
            colours=colours,
            # Padding counts in the loss or not, by version (0.6), which no file says. It matters for further training only.
            objective={"name": "act", "kl_weight": float(config["kl_weight"]), "padding": not normaliser.files},
            execute=config["n_action_steps"] if coefficient is None else f"ensemble:{coefficient}",
        )  # fmt: skip
    except UserError:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as e:
        raise UserError(f"{folder / 'config.json'} is not a config of LeRobot's ACT ({type(e).__name__}: {e})") from e


def features(config: Mapping[str, Any], side: str) -> dict[str, dict[str, Any]]:
    """Name -> type and shape of the inputs ("input") or outputs ("output"); the first versions gave only shapes."""
    if f"{side}_features" in config:
        return config[f"{side}_features"]
    return {key: {"type": kind_of(key), "shape": shape} for key, shape in config[f"{side}_shapes"].items()}


def kind_of(key: str) -> str:
    kinds = {"observation.image": "VISUAL", "observation.environment_state": "ENV", "action": "ACTION"}
    return next((kind for start, kind in kinds.items() if key.startswith(start)), "STATE")


@dataclass
class Normaliser:
    """LeRobot's normalisation of values, by kind of feature, and its statistics."""

    path: Path  # for messages
    files: bool  # whether the normalisers have their own files, as from version 0.4 on
    modes: dict[str, str]
    statistics: dict[str, Tensor]  # "observation_state.mean"
    eps: float = 1e-8

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Normaliser:
        modes = dict(config.get("normalization_mapping") or {})
        for side in ("input", "output"):
            for key, mode in (config.get(f"{side}_normalization_modes") or {}).items():
                modes[kind_of(key)] = mode.upper()
        within = re.compile(r"(?:normalize_inputs|unnormalize_outputs)\.buffer_(.+)")
        if not (folder / "policy_preprocessor.json").is_file():
            held = {match[1]: tensor for name, tensor in tensors.items() if (match := within.fullmatch(name))}
            return cls(folder / "model.safetensors", False, modes, held)
        self = cls(folder / "policy_preprocessor.json", True, modes, {})
        for file in (self.path, folder / "policy_postprocessor.json"):
            for step in read_json(file)["steps"]:
                name = step.get("registry_name") or step.get("class")
                if name not in STEPS:
                    raise UserError(
                        f"{file}: the step {name!r} is not supported{near_matches(str(name), sorted(STEPS))}"
                    )
                if "norm_map" in step.get("config", {}):
                    self.modes |= step["config"]["norm_map"]
                    self.eps = step["config"].get("eps", self.eps)
                if step.get("state_file"):
                    for key, tensor in read_safetensors(folder / Path(step["state_file"]).name)[0].items():
                        feature, _, statistic = key.rpartition(".")
                        self.statistics[f"{feature.replace('.', '_')}.{statistic}"] = tensor
        return self

    def scaling(self, key: str, kind: str, size: int) -> Scaling:
        mode = self.modes.get(kind, "IDENTITY")
        if mode == "IDENTITY":
            return Scaling([0.0] * size, [1.0] * size)
        if mode not in STATISTICS:
            raise UserError(f"{self.path}: {kind} is normalised by {mode!r}{near_matches(mode, STATISTICS)}")
        values = []
        for name in STATISTICS[mode].split():
            tensor = self.statistics.get(f"{key.replace('.', '_')}.{name}")
            if tensor is None:
                raise UserError(f"{self.path} has no {name} for {key}: save the policy with the statistics of its data")
            values.append(tensor.double().flatten().numpy())
        low, high = values
        if mode == "MEAN_STD":
            return check_scaling(f"{self.path}: {key}", low, high + self.eps, size)
        width = np.where(high == low, self.eps, high - low)  # to -1..1
        return check_scaling(f"{self.path}: {key}", low + width / 2, width / 2, size)


def check_scaling(what: str, mean: np.ndarray, scale: np.ndarray, size: int | None = None) -> Scaling:
    """The scaling; UserError if these are not statistics of `size` numbers."""
    size = mean.size if size is None else size
    if mean.shape != (size,) or scale.shape != (size,):
        raise UserError(f"{what} has statistics of {mean.size} and {scale.size} numbers: it needs {size} of each")
    if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise UserError(
            f"{what} has statistics that are not finite, or a deviation that is not above 0: save the statistics of the data"
        )
    return Scaling(mean.tolist(), scale.tolist())


def read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path} is missing: give the whole folder of the policy")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as e:
        raise UserError(f"{path} cannot be read as JSON: {e}") from e
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not the config of a policy")
    return content


# -- the original ----------------------------------------------------------------------------------------------------------


def checkpoint_in(path: Path) -> Path:
    """The checkpoint itself, or the one in a folder that the original code evaluates."""
    if path.is_file():
        return path
    for name in ORIGINALS:
        if (path / name).is_file():
            return path / name
    raise UserError(f"{path} has neither config.json (LeRobot) nor policy_best.ckpt or policy_last.ckpt (ACT)")


def read_original(
    path: Path, cameras: Sequence[str], picture: tuple[int, int], heads: int, statistics: str | Path | None
) -> Published:
    tensors = {name.removeprefix("model."): value for name, value in read_weights(path).items()}
    wanted = {
        "chunk_size and width": "query_embed.weight",
        "hidden": "transformer.encoder.layers.0.linear1.weight",
        "latent_dim": "latent_out_proj.weight",
    }
    missing = [name for name in wanted.values() if name not in tensors or tensors[name].ndim != 2]
    if missing:
        raise UserError(f"{path} lacks {some(missing)}: give a checkpoint of the original ACT, or a LeRobot folder")

    def layers(of: str) -> int:
        found = (re.match(re.escape(of) + r"\.layers\.(\d+)\.", name) for name in tensors)
        return len({match[1] for match in found if match})

    query, hidden, latent = (tensors[name] for name in wanted.values())
    default = next((p for p in (path.with_name(f"dataset_stats.{end}") for end in ("pkl", "npz")) if p.exists()), None)
    known = read_statistics(Path(statistics) if statistics else default or path.with_name("dataset_stats.pkl"))
    return Published(
        path, tensors, 1,
        latent_dim=latent.shape[1],
        chunk_size=query.shape[0],
        size=dict(
            width=query.shape[1], heads=heads, hidden=hidden.shape[0], layers=layers("transformer.encoder"),
            decoder_layers=1, posterior_layers=layers("encoder"), dropout=0.1, posterior_sees=["state"],
            activation="relu", norm_first="transformer.encoder.norm.weight" in tensors,
        ),
        backbone=resnet_of(path, tensors),
        actions=known["action"],
        vectors={"state": known["qpos"]},
        cameras={CAMERA + name.removeprefix(CAMERA): (picture[0], picture[1]) for name in cameras},
        colours=[Scaling(list(PICTURE_MEAN), list(PICTURE_SCALE)) for _ in cameras],
        objective={"name": "act", "kl_weight": 10.0, "padding": True},
        execute=query.shape[0],
    )  # fmt: skip


def resnet_of(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """The name in `RESNETS` of the original's cameras, by the blocks of its third layer."""
    start = "backbones.0.0.body.layer3."
    names = [name.removeprefix(start) for name in tensors if name.startswith(start)]
    block = Bottleneck if "0.conv3.weight" in names else BasicBlock
    for name, (its_block, counts) in RESNETS.items():
        if (its_block, counts[2]) == (block, len({name.split(".")[0] for name in names})):
            return name
    raise UserError(f"{path} has a backbone that is not supported (known: {', '.join(RESNETS)})")


def read_statistics(path: Path) -> dict[str, Scaling]:
    """The scaling of "action" and "qpos", from a dataset_stats.pkl or an .npz."""
    if not path.is_file():
        raise UserError(
            f"{path} is missing: give statistics=, the dataset_stats.pkl that was saved with the checkpoint"
        )
    try:
        with path.open("rb") as file:
            content = dict(np.load(file, allow_pickle=False)) if path.suffix == ".npz" else Arrays(file).load()
    except Exception as e:  # a damaged pickle may raise anything
        raise UserError(f"{path} cannot be read as statistics of ACT ({type(e).__name__}: {e})") from e
    scalings = {}
    for name in ("action", "qpos"):
        mean, deviation = (content.get(f"{name}_{s}") if isinstance(content, dict) else None for s in ("mean", "std"))
        if not isinstance(mean, np.ndarray) or not isinstance(deviation, np.ndarray):
            raise UserError(f"{path} lacks {name}_mean or {name}_std: give the dataset_stats.pkl of the original ACT")
        scalings[name] = check_scaling(f"{path}: {name}", mean.astype(float), deviation.astype(float))
    return scalings
