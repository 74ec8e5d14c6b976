"""ACT is the published one: outputs, losses, gradients and steps of LeRobot's, and its checkpoints and the original's."""

import json
import os
import pickle
from itertools import combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import vaekit as vk
from reference import DATA, closed_form
from vaekit.conditions import Conditions, Number, Picture
from vaekit.distributions.likelihoods import LaplaceLikelihood
from vaekit.errors import Note, UserError
from vaekit.nets.resnet import ResNet
from vaekit.objectives.bounds import ACT
from vaekit.robots.actions import Actions
from vaekit.robots.published import load_published, name_in

CASES = {
    "lerobot_state": {"state": 4, "environment_state": 6},
    "lerobot_images_resnet18": {"state": 14, "images.top": (64, 96), "images.wrist": (64, 96)},
}
KINDS = {"state": "STATE", "environment_state": "ENV"}
IDENTITY = dict.fromkeys(("VISUAL", "STATE", "ENV", "ACTION"), "IDENTITY")


# -- checkpoints as others write them ------------------------------------------------------------------------------------


def config(seen, actions, **changes):
    """A config of LeRobot at the sizes of the reference."""
    inputs = {
        f"observation.{name}": {"type": KINDS.get(name, "VISUAL"), "shape": [3, *n] if isinstance(n, tuple) else [n]}
        for name, n in seen.items()
    }
    return {
        "type": "act", "n_obs_steps": 1, "input_features": inputs, "device": "cuda",
        "output_features": {"action": {"type": "ACTION", "shape": [actions]}}, "normalization_mapping": IDENTITY,
        "chunk_size": 8, "n_action_steps": 8, "vision_backbone": "resnet18", "replace_final_stride_with_dilation": False,
        "pre_norm": False, "dim_model": 32, "n_heads": 4, "dim_feedforward": 64, "feedforward_activation": "relu",
        "n_encoder_layers": 2, "n_decoder_layers": 1, "use_vae": True, "latent_dim": 8, "n_vae_encoder_layers": 2,
        "temporal_ensemble_coeff": None, "dropout": 0.1, "kl_weight": 10.0, **changes,
    }  # fmt: skip


def weights(case):
    tensors = load_file(DATA / f"{case}.weights.safetensors")
    if "images" in case:
        backbone = ResNet().state_dict()
        tensors |= {f"backbone.{name}": closed_form(name, value.shape) for name, value in backbone.items()}
    return tensors


def write(folder, tensors, values, statistics=None, *, within=False, eps=1e-8):
    """A folder of LeRobot; statistics by name of the feature, in files of their own or, as once, within the weights."""
    folder.mkdir(exist_ok=True)
    held = {f"model.{name}": value.contiguous() for name, value in tensors.items()}
    flat = {f"{key}.{s}": torch.as_tensor(v).float() for key, of in (statistics or {}).items() for s, v in of.items()}
    if within:
        for name, value in flat.items():
            key, statistic = name.rsplit(".", 1)
            layers = ("normalize_targets", "unnormalize_outputs") if key == "action" else ("normalize_inputs",)
            held |= {f"{layer}.buffer_{key.replace('.', '_')}.{statistic}": value.clone() for layer in layers}
    elif statistics is not None:
        about = {"eps": eps, "features": {}, "norm_map": values["normalization_mapping"]}
        for side, step in (("pre", "normalizer_processor"), ("post", "unnormalizer_processor")):
            state = f"policy_{side}processor_step_1_{step}.safetensors"
            steps = [{"registry_name": "to_batch_processor", "config": {}}]
            steps += [{"registry_name": step, "config": about, "state_file": state}]
            save_file(flat, folder / state)
            (folder / f"policy_{side}processor.json").write_text(json.dumps({"name": side, "steps": steps}))
    save_file(held, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(values))
    return folder


def reference(case):
    return {name: torch.from_numpy(value) for name, value in np.load(DATA / f"{case}.io.npz").items()}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """A reference: its numbers, the policy from its weights, and the observations, actions and mask it was fed."""
    seen, numbers = CASES[request.param], reference(request.param)
    actions = numbers["in/action"].shape[2]
    folder = write(tmp_path_factory.mktemp("published"), weights(request.param), config(seen, actions))
    x = numbers["in/action"].transpose(1, 2)
    mask = ~numbers["in/action_is_pad"][:, None].expand_as(x)
    return folder, numbers, {name: numbers[f"in/observation.{name}"] for name in seen}, x, mask


def near(found, expected, atol=2e-6):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def draw(model, case):
    _, numbers, y, x, mask = case
    return model.draw(x, y, mask=mask, noise=lambda *shape: numbers["in/eps"].reshape(shape))


# -- the reference ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_actions_are_lerobots(case):
    folder, numbers, y, _, _ = case
    model = load_published(folder).model_
    for z, expected in ((torch.zeros_like(numbers["in/z"]), "z0"), (numbers["in/z"], "z")):
        near(model.decode(z, y).mean.transpose(1, 2), numbers[f"out/eval/actions_{expected}"])


def test_training_stage_is_lerobots(case):
    folder, numbers, _, _, _ = case
    model = load_published(folder).model_
    d = draw(model, case)
    near(d.likelihood.mean[0].transpose(1, 2), numbers["out/train/actions"])
    near(d.posterior.mean, numbers["out/train/mu"])
    near(2 * d.posterior.scale.log(), numbers["out/train/logvar"])
    loss, kl = ACT(kl_weight=10, padding=False)(d)[0], numbers["out/train/kl"]
    for found, expected in (
        (d.kl.mean(), kl),
        (loss, numbers["out/train/loss"]),
        (loss, numbers["out/train/l1_valid_mean"] + 10 * kl),
        (ACT(kl_weight=10, padding=True)(d)[0], numbers["out/train/l1_original_mean_over_all"] + 10 * kl),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    loss.backward()
    gradients = {name_in(name, 0): p.grad for name, p in model.named_parameters()}
    expected = {name.removeprefix("grad/"): g for name, g in numbers.items() if name.startswith("grad/")}
    assert {name for name in gradients if not name.startswith("backbone.")} == set(expected)
    whole = torch.cat([g.flatten() for g in expected.values()]).norm()
    for name, g in expected.items():
        # The decoder's first self-attention sees only zeros: what reaches its queries and keys is rounding.
        off = (gradients[name].reshape(g.shape) - g).norm()
        assert off <= 1e-5 * g.norm() + 1e-8 * whole, name


@torch.no_grad()
def test_error_of_the_priors_mean_is_lerobots_evaluation(case):
    folder, numbers, y, x, mask = case
    model = load_published(folder).model_
    error = (model.decode(model.prior(y).mean, y).mean - x).abs()[mask].mean()
    torch.testing.assert_close(error, numbers["out/eval/loss_with_actions"], rtol=1e-5, atol=0)


def test_five_steps_of_adamw_are_lerobots(tmp_path):
    numbers, seen = reference("lerobot_state"), CASES["lerobot_state"]
    folder = write(tmp_path, weights("lerobot_state"), config(seen, 3))
    x = numbers["in/action"].transpose(1, 2)
    y = {name: numbers[f"in/observation.{name}"] for name in seen}
    case = folder, numbers, y, x, ~numbers["in/action_is_pad"][:, None].expand_as(x)
    model = load_published(folder).model_
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4), []
    for _ in range(5):
        optimizer.zero_grad()
        loss, _ = ACT(kl_weight=10, padding=False)(draw(model, case))
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    torch.testing.assert_close(torch.stack(losses), numbers["out/adamw5/losses"], rtol=1e-5, atol=0)


# -- what holds whatever the weights -----------------------------------------------------------------------------------------


@torch.no_grad()
def test_what_is_padding_does_not_matter(case):
    folder, _, y, x, mask = case
    model = load_published(folder).model_
    other = torch.where(mask, x, 1e3 * torch.randn_like(x))
    shuffled = torch.where(mask, x, x.flip(2))
    assert not torch.equal(x, other)
    expected = model.posterior(x, y, mask)
    for changed in (other, shuffled, torch.where(mask, x, torch.nan)):
        found = model.posterior(changed, y, mask)
        near(found.mean, expected.mean, 1e-6)
        near(found.scale, expected.scale, 1e-6)
    assert not torch.allclose(model.posterior(other, y).mean, expected.mean, atol=0.01)
    assert not torch.allclose(model.posterior(x.flip(2), y).mean, model.posterior(x, y).mean, atol=1e-4)


SEEN = {"state": 3, "environment_state": 5, "images.top": (33, 64), "images.wrist": (64, 40)}


@pytest.mark.parametrize("names", [names for n in range(1, 5) for names in combinations(SEEN, n)], ids="+".join)
@pytest.mark.parametrize("latent_dim", [0, 4])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_any_observations_with_and_without_a_latent(names, latent_dim, tmp_path):
    policy = made({name: SEEN[name] for name in names}, tmp_path, latent_dim=latent_dim)
    rows = observations(policy, 3)
    chunks = policy.predict(rows)
    assert chunks.shape == (3, 8, 2)
    for name, values in rows.items():  # each has a say
        assert not np.allclose(chunks, policy.predict({**rows, name: values[::-1]}), atol=1e-4), name
    one = policy.predict({name: values[:1] for name, values in rows.items()})
    np.testing.assert_allclose(one, chunks[:1], atol=1e-5)
    x = torch.randn(3, 2, 8)
    d = policy.model_.draw(x, policy.pack_observations(rows))
    loss, _ = ACT()(d)
    loss.backward()
    assert d.z.shape == (1, 3, latent_dim)
    assert all(p.grad is None or p.grad.isfinite().all() for p in policy.model_.parameters())


def made(seen, folder, latent_dim, backbone="resnet18", **size):
    """A policy from a LeRobot folder of random weights, for these observations and two actions."""
    changes = dict(pre_norm=size.get("norm_first", False), feedforward_activation=size.get("activation", "relu"))
    values = config(seen, 2, latent_dim=max(latent_dim, 1), use_vae=latent_dim > 0, vision_backbone=backbone, **changes)
    policy = vk.Policy(
        latent_dim, prior="standard", posterior="log_variance",
        backbone={"name": backbone, "norm": "frozen", "shared": True},
        size=dict(width=32, heads=4, hidden=64, layers=2, posterior_layers=2, posterior_sees=["state"], **size),
    )  # fmt: skip
    kind = Actions(8, [0.0] * 2, [1.0] * 2, 50.0)
    conditions = Conditions(
        {name: Picture(*n) if isinstance(n, tuple) else Number([0.0] * n, [1.0] * n) for name, n in seen.items()}
    )
    state = policy.build(kind, conditions, LaplaceLikelihood((2, 8), scale=1)).state_dict()
    tensors = {name_in(name, 0): value for name, value in state.items() if name_in(name, 0)}
    for name in ("vae_encoder_cls_embed.weight", "encoder_1d_feature_pos_embed.weight", "decoder_pos_embed.weight"):
        tensors[name] = tensors[name][0]
    return load_published(write(folder, tensors, values))


def attend(t, name, q, k, v, heads):
    own = [t[f"{name}.{n}"] for n in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")]
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    out, _ = F.multi_head_attention_forward(
        q, k, v, q.shape[2], heads, own[0], own[1], None, None, False, 0.0, own[2], own[3], training=False
    )
    return out.transpose(0, 1)


def norm(t, name, x):
    return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"])


def linear(t, name, x):
    return F.linear(x, t[f"{name}.weight"], t[f"{name}.bias"])


def pre_norm_chunks(t, state, heads):
    """Chunks of a checkpoint with pre-norm and GELU, two encoder layers and z = 0, by the paper's formulas."""
    positions = t["encoder_1d_feature_pos_embed.weight"][None]
    z = t["encoder_latent_input_proj.bias"].expand(len(state), -1)
    x = torch.stack([z, linear(t, "encoder_robot_state_input_proj", state)], dim=1)
    for i in range(2):
        h = norm(t, f"encoder.layers.{i}.norm1", x)
        x = x + attend(t, f"encoder.layers.{i}.self_attn", h + positions, h + positions, h, heads)
        h = F.gelu(linear(t, f"encoder.layers.{i}.linear1", norm(t, f"encoder.layers.{i}.norm2", x)))
        x = x + linear(t, f"encoder.layers.{i}.linear2", h)
    memory, layer = norm(t, "encoder.norm", x), "decoder.layers.0"
    queries = t["decoder_pos_embed.weight"][None].expand(len(state), -1, -1)
    h = norm(t, f"{layer}.norm1", torch.zeros_like(queries))
    x = attend(t, f"{layer}.self_attn", h + queries, h + queries, h, heads)
    h = norm(t, f"{layer}.norm2", x) + queries
    x = x + attend(t, f"{layer}.multihead_attn", h, memory + positions, memory, heads)
    h = F.gelu(linear(t, f"{layer}.linear1", norm(t, f"{layer}.norm3", x)))
    return linear(t, "action_head", norm(t, "decoder.norm", x + linear(t, f"{layer}.linear2", h)))


def test_pre_norm_and_gelu_are_the_formulas(tmp_path):
    policy = made({"state": 3}, tmp_path, 4, norm_first=True, activation="gelu")
    state = np.random.default_rng(0).normal(size=(5, 3))
    tensors = {n.removeprefix("model."): v for n, v in load_file(tmp_path / "model.safetensors").items()}
    expected = pre_norm_chunks(tensors, torch.from_numpy(state).float(), heads=4)
    np.testing.assert_allclose(policy.predict({"state": state}), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_other_backbones_load_from_lerobots_files(name, tmp_path):
    policy = made({"state": 3, "images.top": (32, 64)}, tmp_path, 0, backbone=name)
    network = policy.model_.condition.backbones[0]
    held = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(held[f"model.backbone.{n}"], value) for n, value in network.state_dict().items())
    assert policy.predict(observations(policy, 2)).shape == (2, 8, 2)


def observations(policy, rows, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(0, 256, (rows, c.height, c.width, 3), np.uint8)
        if c.kind == "picture"
        else rng.normal(size=(rows, c.size))
        for name, c in policy.conditions_.named.items()
    }


# -- reading checkpoints -----------------------------------------------------------------------------------------------------


def test_policy_acts_saves_and_loads(tmp_path):
    name = "lerobot_images_resnet18"
    folder = write(tmp_path / "a", weights(name), config(CASES[name], 14, n_action_steps=3))
    policy = load_published(folder)
    loaded = vk.load(policy.save(tmp_path / "run"))
    assert (policy.z, policy.execute, policy.model_.latent_dim) == (loaded.z, loaded.execute, 8) == ("mean", 3, 8)
    assert policy.get_params()["objective"] == {"name": "act", "kl_weight": 10.0, "padding": True}
    rows = observations(policy, 4)
    np.testing.assert_array_equal(policy.predict(rows), loaded.predict(rows))
    np.testing.assert_array_equal(policy.predict(rows), policy.predict(rows, z=np.zeros(8)))
    played = [loaded.act({name: v[i] for name, v in rows.items()}) for i in range(4)]
    chunks = policy.predict(rows)
    np.testing.assert_allclose(played, [*chunks[0, :3], chunks[3, 0]], atol=1e-6)
    with pytest.warns(Note, match="50 are taken"):  # as the verbs of the command line open it
        np.testing.assert_array_equal(vk.load(folder).predict(rows), policy.predict(rows))


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_act_without_a_vae(tmp_path):
    tensors, seen = weights("lerobot_state"), CASES["lerobot_state"]
    expected = reference("lerobot_state")["out/eval/actions_z0"].numpy()
    without = {name: value for name, value in tensors.items() if not name.startswith("vae_")}
    policy = load_published(write(tmp_path, without, config(seen, 3, use_vae=False)))
    y = {name: reference("lerobot_state")[f"in/observation.{name}"].numpy() for name in seen}
    np.testing.assert_allclose(policy.predict(y), expected, rtol=0, atol=2e-6)
    assert policy.latent_dim == 0


STATISTICS = {
    "observation.state": {"mean": [1.0, -2, 3, 0], "std": [0.5, 2, 1, 1e-3], "min": [0.0] * 4, "max": [1.0] * 4},
    "action": {"mean": [5.0, 0, -1], "std": [2.0, 1, 3], "min": [-1.0, 0, 2], "max": [3.0, 1, 2]},
}


@pytest.mark.parametrize("form", ["files", "within", "oldest"])
@pytest.mark.parametrize("mode", ["MEAN_STD", "MIN_MAX"])
def test_statistics_of_every_version(form, mode, tmp_path):
    values = config(CASES["lerobot_state"], 3, temporal_ensemble_coeff=0.1, n_action_steps=1)
    values["normalization_mapping"] = {"VISUAL": "MEAN_STD", "STATE": "MEAN_STD", "ACTION": mode}
    plain = load_published(write(tmp_path / "plain", weights("lerobot_state"), config(CASES["lerobot_state"], 3)))
    if form == "oldest":
        shapes = {
            side: {k: f["shape"] for k, f in values.pop(f"{side}_features").items()} for side in ("input", "output")
        }
        values |= {f"{side}_shapes": of for side, of in shapes.items()}
        values["input_normalization_modes"] = {"observation.state": "mean_std"}
        values["output_normalization_modes"] = {"action": mode.lower()}
        del values["normalization_mapping"], values["type"]
    write(tmp_path / "a", weights("lerobot_state"), values, STATISTICS, within=form != "files")
    policy = load_published(tmp_path / "a")
    state, around = np.random.default_rng(0).normal(size=(2, 5, 6))
    mean, deviation, least, most = (np.array(STATISTICS["action"][s]) for s in ("mean", "std", "min", "max"))
    seen = (state[:, :4] - STATISTICS["observation.state"]["mean"]) / STATISTICS["observation.state"]["std"]
    chunks = plain.predict({"state": seen, "environment_state": around})  # LeRobot leaves the environment's as it is
    expected = chunks * deviation + mean if mode == "MEAN_STD" else (chunks + 1) / 2 * (most - least) + least
    found = policy.predict({"state": state[:, :4], "environment_state": around})
    np.testing.assert_allclose(found, expected, atol=5e-4, rtol=1e-5)  # a state of 1e-3 spread, and LeRobot's eps in it
    assert policy.execute == "ensemble:0.1"
    assert policy.objective["padding"] == (form != "files")


def test_pictures_are_normalised_by_their_own_statistics(tmp_path):
    name = "lerobot_images_resnet18"
    values = config(CASES[name], 14, normalization_mapping={**IDENTITY, "VISUAL": "MEAN_STD"})
    rng = np.random.default_rng(0)
    statistics = {
        f"observation.images.{camera}": {s: rng.uniform(0.2, 0.8, (3, 1, 1)) for s in ("mean", "std")}
        for camera in ("top", "wrist")
    }
    policy = load_published(write(tmp_path / "a", weights(name), values, statistics))
    rows = observations(policy, 2)
    y = policy.pack_observations(rows)
    for camera in ("top", "wrist"):
        of = statistics[f"observation.images.{camera}"]
        picture = rows[f"images.{camera}"].transpose(0, 3, 1, 2) / 255
        y[f"images.{camera}"] = torch.from_numpy((picture - of["mean"]) / of["std"]).float()
    with torch.no_grad():
        expected = policy.model_.decode(torch.zeros(2, 8), y).mean.transpose(1, 2).numpy()
    np.testing.assert_allclose(policy.predict(rows), expected, atol=1e-5)
    loaded = vk.load(policy.save(tmp_path / "run"))
    np.testing.assert_array_equal(loaded.predict(rows), policy.predict(rows))


ORIGINAL = {  # of LeRobot's names, in this order: the original's
    "vae_encoder_cls_embed.": "cls_embed.", "vae_encoder_robot_state_input_proj.": "encoder_joint_proj.",
    "vae_encoder_action_input_proj.": "encoder_action_proj.", "vae_encoder_latent_output_proj.": "latent_proj.",
    "vae_encoder_pos_enc": "pos_table", "vae_encoder.": "encoder.", "encoder_latent_input_proj.": "latent_out_proj.",
    "encoder_robot_state_input_proj.": "input_proj_robot_state.", "encoder_img_feat_input_proj.": "input_proj.",
    "encoder_1d_feature_pos_embed.": "additional_pos_embed.", "decoder_pos_embed.": "query_embed.",
    "backbone.": "backbones.0.0.body.", "encoder.": "transformer.encoder.", "decoder.": "transformer.decoder.",
}  # fmt: skip


def original(folder, statistics="pickle"):
    """A checkpoint of the original code with the reference's weights, and six more decoder layers of random ones."""
    tensors = {}
    for name, value in weights("lerobot_images_resnet18").items():
        start = next((start for start in ORIGINAL if name.startswith(start)), "")
        tensors[f"model.{ORIGINAL.get(start, '')}{name.removeprefix(start)}"] = value
    first = "model.transformer.decoder.layers.0."
    for name in [name for name in tensors if name.startswith(first)]:
        for i in range(1, 7):
            tensors[name.replace(".layers.0.", f".layers.{i}.")] = torch.randn_like(tensors[name])
    tensors |= {"model.is_pad_head.weight": torch.randn(1, 32), "model.is_pad_head.bias": torch.randn(1)}
    folder.mkdir(exist_ok=True)
    torch.save(tensors, folder / "policy_best.ckpt")
    rng = np.random.default_rng(0)
    known = {
        f"{name}_{s}": rng.uniform(0.5, 2, 14).astype(np.float32)
        for name in ("action", "qpos")
        for s in ("mean", "std")
    }
    known["example_qpos"] = rng.normal(size=(400, 14))
    (folder / "dataset_stats.pkl").write_bytes(pickle.dumps(known))
    return known


OF_THE_REFERENCE = dict(cameras=["top", "wrist"], picture=(64, 96), heads=4)


def test_the_originals_first_decoder_layer_counts(tmp_path):
    known = original(tmp_path / "act")
    policy = load_published(tmp_path / "act", **OF_THE_REFERENCE)
    name = "lerobot_images_resnet18"
    values = config(CASES[name], 14, normalization_mapping=dict.fromkeys(IDENTITY, "MEAN_STD"))
    imagenet = {
        "mean": np.reshape([0.485, 0.456, 0.406], (3, 1, 1)),
        "std": np.reshape([0.229, 0.224, 0.225], (3, 1, 1)),
    }
    statistics = {f"observation.images.{camera}": imagenet for camera in ("top", "wrist")}
    for key, ours in (("action", "action"), ("qpos", "observation.state")):
        statistics[ours] = {s: known[f"{key}_{s}"] for s in ("mean", "std")}
    lerobots = load_published(write(tmp_path / "lerobot", weights(name), values, statistics))
    rows = observations(policy, 3)
    np.testing.assert_allclose(policy.predict(rows), lerobots.predict(rows), atol=2e-6)
    assert (policy.execute, policy.z, policy.size["decoder_layers"]) == (8, "mean", 1)
    assert load_published(tmp_path / "act", execute="ensemble", **OF_THE_REFERENCE).execute == "ensemble"
    loaded = vk.load(policy.save(tmp_path / "run"))
    np.testing.assert_array_equal(loaded.predict(rows), policy.predict(rows))


@pytest.mark.parametrize("form", [3, 4, 5, "npz", "big-endian"])
def test_statistics_of_the_original(form, tmp_path):
    known = original(tmp_path)
    expected = load_published(tmp_path, **OF_THE_REFERENCE).kind_
    path = tmp_path / "dataset_stats.pkl"
    if form == "npz":
        path.unlink()
        np.savez(tmp_path / "dataset_stats.npz", **known)
    elif form == "big-endian":
        path.write_bytes(pickle.dumps({name: values.astype(">f4") for name, values in known.items()}))
    else:
        path.write_bytes(pickle.dumps(known, protocol=form))
    found = load_published(tmp_path / "policy_best.ckpt", **OF_THE_REFERENCE)
    assert found.kind_ == expected
    assert found.kind_.mean == known["action_mean"].astype(float).tolist()


class Runs:
    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


def test_statistics_that_would_run_something_are_refused(tmp_path):
    known, mark = original(tmp_path), tmp_path / "ran"
    for bad in (
        Runs(os.system, f"touch {mark}"),
        {**known, "action_mean": Runs(os.system, f"touch {mark}")},
        {**known, "example_qpos": Runs(eval, f"open({str(mark)!r}, 'w')")},
        {**known, "example_qpos": Runs(np.load, str(mark))},
        {**known, "example_qpos": np.array([Runs(os.system, f"touch {mark}")], dtype=object)},
    ):
        (tmp_path / "dataset_stats.pkl").write_bytes(pickle.dumps(bad))
        with pytest.raises(UserError, match=r"dataset_stats.pkl cannot be read .*(names|array of object)"):
            load_published(tmp_path, **OF_THE_REFERENCE)
        assert not mark.exists()
    for content in (b"", b"no pickle", pickle.dumps(known)[:-100], pickle.dumps([1, 2]), pickle.dumps({"a": 1})):
        (tmp_path / "dataset_stats.pkl").write_bytes(content)
        with pytest.raises(UserError, match=r"dataset_stats.pkl"):
            load_published(tmp_path, **OF_THE_REFERENCE)
    torch.save({"model.a": Runs(os.system, f"touch {mark}")}, tmp_path / "policy_best.ckpt")
    with pytest.raises(UserError, match=r"cannot read .*policy_best.ckpt"):
        load_published(tmp_path, **OF_THE_REFERENCE)
    assert not mark.exists()


# -- mistakes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"vision_backbone": "resnet35"},
            "vision_backbone is 'resnet35', which is not supported.*known: resnet18, resnet34",
        ),
        ({"replace_final_stride_with_dilation": True}, "dilation is True, which is not supported"),
        ({"feedforward_activation": "glu"}, "feedforward_activation is 'glu'"),
        ({"pre_norm": True}, "lacks vae_encoder.norm.weight"),
        ({"type": "diffusion"}, "type is 'diffusion'"),
        ({"dim_model": 64}, r"vae_encoder_cls_embed.weight has the shape \(1, 32\), and has to have \(1, 1, 64\)"),
        ({"n_heads": 3}, "size.width=32 has to be a multiple of 4, and of size.heads=3"),
        ({"chunk_size": 9}, r"decoder_pos_embed.weight has the shape \(8, 32\), and has to have \(1, 9, 32\)"),
        ({"n_encoder_layers": 3}, "lacks encoder.layers.2.*and 9 more tensors"),
        ({"n_encoder_layers": 1}, "holds encoder.layers.1.*not a part of ACT with a resnet18"),
        ({"n_action_steps": 9}, "cannot play 9 actions of a chunk of 8"),
        ({"normalization_mapping": {"ACTION": "MEAN_STD"}}, "has no mean for action"),
        ({"normalization_mapping": {"STATE": "Z"}}, "STATE is normalised by 'Z'"),
        ({"chunk_size": None}, "chunk_size is None, and has to be a whole number"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"kl_weight": "ten"}, "is not a config of LeRobot's ACT"),
        ({"output_features": {}}, "is not a config of LeRobot's ACT"),
    ],
)
def test_configs_that_cannot_be(changes, message, tmp_path):
    write(tmp_path, weights("lerobot_state"), config(CASES["lerobot_state"], 3, **changes))
    with pytest.raises(UserError, match=message) as e:
        load_published(tmp_path)
    assert "\n" not in str(e.value)


def test_files_that_cannot_be(tmp_path):
    tensors, values = weights("lerobot_state"), config(CASES["lerobot_state"], 3)

    def told(message, path=tmp_path / "a"):
        with pytest.raises(UserError, match=message):
            load_published(path)

    told("does not exist")
    del tensors["action_head.bias"]
    write(tmp_path / "a", tensors, values)
    told("lacks action_head.bias")
    (tmp_path / "a" / "model.safetensors").unlink()
    told("model.safetensors does not exist")
    (tmp_path / "a" / "config.json").write_text("{")
    told("config.json cannot be read as JSON")
    (tmp_path / "a" / "config.json").unlink()
    told("neither config.json .* nor policy_best.ckpt")
    original(tmp_path / "b")
    (tmp_path / "b" / "dataset_stats.pkl").unlink()
    told("dataset_stats.pkl is missing", tmp_path / "b")
    torch.save({"model.a": torch.zeros(2)}, tmp_path / "b" / "policy_best.ckpt")
    told("lacks query_embed.weight", tmp_path / "b")

    values["normalization_mapping"] = {"ACTION": "MEAN_STD"}
    for statistics, message in (
        ({"mean": [0.0] * 3, "std": [float("inf")] * 3}, "not finite"),
        ({"mean": [0.0] * 2, "std": [1.0] * 2}, "of 2 and 2 numbers: it needs 3"),
        ({"mean": [0.0] * 3}, "has no std for action"),
    ):
        write(tmp_path / "a", weights("lerobot_state"), values, {"action": statistics})
        told(message)
    file = tmp_path / "a" / "policy_postprocessor.json"
    file.write_text(file.read_text().replace("to_batch_processor", "absolute_actions_processor"))
    told("the step 'absolute_actions_processor' is not supported")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"widht": 32}, "no option 'widht'; did you mean 'width'"),
        ({"layers": 0}, "size.layers=0"),
        ({"dropout": 1.5}, "size.dropout=1.5"),
        ({"width": 30, "heads": 3}, "size.width=30"),
    ],
)
def test_sizes_that_cannot_be(size, message):
    with pytest.raises(UserError, match=message):
        vk.Policy(size=size).fit(None)
    with pytest.raises(UserError, match="is not one of the choices"):
        vk.VAE(size=size).fit(np.zeros((9, 2)))
