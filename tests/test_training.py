"""Training: killed and resumed, shared by two processes, seeds, precision, the path's own group, the log."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch
import training_runs
from hf_training import FIELD, Stretched, batch, build
from training_runs import PLAN, by_row, data, extended, plain, told, weights

import clexlab
from clexlab import hf, objectives, ode, positions, scaling, training
from clexlab.training import Plan, checkpoints
from clexlab.training.trainer import Clip, PartTrainer, collate

QUICK = Plan(steps=3, rows=4, rate=1e-2, path_rate=1e-2, log_every=1)


@pytest.fixture(autouse=True)
def one_thread():
    """Sums over threads may be in any order; one thread makes runs equal bit for bit, here and in other processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that was never interrupted, and its folder with checkpoints at 6 and 8."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    return training.train(extended(), data(), PLAN, folder=folder), folder


def same(one, other):
    one, other = weights(one), weights(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def process(*arguments, **environment):
    """Run training_runs.py in a process of its own, on one thread."""
    tests = Path(__file__).parent
    paths = os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")])
    # A test run under xdist or torchrun must not leak its ranks into ours.
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


# ------------------------------------------------------------------------------------------------ interrupted


def test_a_training_killed_while_it_writes_a_checkpoint_goes_on_to_the_same_weights_and_the_same_log(whole, tmp_path):
    done, _ = whole
    ended = process(training_runs.__file__, "killed", str(tmp_path))
    assert ended.returncode == -signal.SIGKILL, ended.stderr[-2000:]
    assert sorted(place.name for place in tmp_path.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert training.last_checkpoint(tmp_path).name == "checkpoint-4"
    resumed = training.train(extended(), data(), PLAN, folder=tmp_path, resume=True)
    assert same(resumed.model, done.model)
    assert told(resumed) == told(done)
    assert [entry["step"] for entry in resumed.curve] == [1, 2, 3, 4, 6, 8]
    assert all(a["seconds"] < b["seconds"] for a, b in zip(resumed.curve, resumed.curve[1:], strict=False))


@pytest.mark.parametrize("missing", ["trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth"])
@pytest.mark.parametrize("how", ["absent", "cut"])
def test_a_checkpoint_without_one_of_its_files_or_with_half_of_it_does_not_count(whole, tmp_path, missing, how):
    shutil.copytree(whole[1], tmp_path / "copy")
    place = tmp_path / "copy" / "checkpoint-8" / missing
    assert training.last_checkpoint(tmp_path / "copy").name == "checkpoint-8"
    os.truncate(place, place.stat().st_size // 2) if how == "cut" else place.unlink()
    assert training.last_checkpoint(tmp_path / "copy").name == "checkpoint-6"
    checkpoints.remove_broken(tmp_path / "copy")
    assert [left.name for left in (tmp_path / "copy").glob("checkpoint-*")] == ["checkpoint-6"]


def test_resuming_a_finished_training_gives_it_again(whole, tmp_path):
    done, folder = whole
    shutil.copytree(folder, tmp_path / "copy")
    again = training.train(extended(), data(), PLAN, folder=tmp_path / "copy", resume=True)
    assert same(again.model, done.model) and again.curve == done.curve and again.seconds == done.seconds


@pytest.mark.parametrize(
    ("changed", "told_so"),
    [
        (dict(plan=Plan(**{**vars(PLAN), "seed": 4})), "seed was 3, is 4"),
        (dict(plan=Plan(**{**vars(PLAN), "path_rate": 0.5})), "path_rate was 0.01, is 0.5"),
        (dict(rows=data(seed=1)), "data was"),
        (dict(model=plain()), "path was"),
        (dict(model=by_row()), "positions was"),
        (dict(objective=lambda model, tokens: {}), "objective was"),
    ],
)
def test_another_training_is_not_resumed(whole, changed, told_so, tmp_path):
    shutil.copytree(whole[1], tmp_path / "copy")
    given = {"model": extended(), "rows": data(), "plan": PLAN, "objective": training.NextToken()} | changed
    with pytest.raises(ValueError, match=told_so):
        training.train(
            given["model"], given["rows"], given["plan"], folder=tmp_path / "copy", objective=given["objective"], resume=True
        )


def test_what_cannot_be_resumed_or_would_be_mixed_up_is_refused(whole, tmp_path):
    with pytest.raises(ValueError, match="no whole checkpoint"):
        training.train(plain(), data(), PLAN, folder=tmp_path, resume=True)
    with pytest.raises(ValueError, match="checkpoint-8 of an earlier training"):
        training.train(extended(), data(), PLAN, folder=whole[1])
    shutil.copytree(whole[1], tmp_path / "copy")
    (tmp_path / "copy" / checkpoints.ABOUT).unlink()
    with pytest.raises(ValueError, match="does not say what was trained"):
        training.train(extended(), data(), PLAN, folder=tmp_path / "copy", resume=True)


# ------------------------------------------------------------------------------------------------ several processes


def test_two_processes_of_accelerate_launch_train_what_one_trains(whole, tmp_path):
    # --multi_gpu is its one way to start several processes without MPI; the plan's device makes them use CPUs.
    launch = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1", "--mixed_precision=no")
    # gloo asks the host's name for an address unless it is told the interface.
    network = {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}
    ended = process(*launch, "--dynamo_backend=no", "--main_process_port=0", training_runs.__file__, "launched", str(tmp_path), **network)
    assert ended.returncode == 0, ended.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"found_{rank}.pt") for rank in (0, 1))
    assert "3 rows a step cannot be shared by 2 processes" in first["refusal"]
    alone = {"extended": whole[0], "by_row": training.train(by_row(), data(), PLAN, folder=tmp_path / "alone")}
    for name, done in alone.items():
        assert first[name][0] == second[name][0]
        for one, two in zip(told(done), first[name][0], strict=True):
            # The same float32 gradients, summed in another order, over eight steps of AdamW.
            assert one.keys() == two.keys() and all(math.isclose(one[key], two[key], rel_tol=1e-4) for key in one)
        for key, weight in weights(done.model).items():
            torch.testing.assert_close(first[name][1][key], weight, rtol=1e-3, atol=1e-4)
            assert torch.equal(first[name][1][key], second[name][1][key])


def test_a_share_of_the_draws_is_the_rows_of_its_process():
    sampler = positions.PerRow(Stretched())
    drawn = sampler.draw_rows(6, 12, torch.Generator().manual_seed(0))
    shares = [
        training.trainer.Share(sampler, rank, 3).draw_rows(2, 12, torch.Generator().manual_seed(0)) for rank in range(3)
    ]
    assert [draw.factor for share in shares for draw in share] == [draw.factor for draw in drawn]


# ------------------------------------------------------------------------------------------------ seeds


def test_a_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    runs = [
        training.train(extended(), data(QUICK), Plan(**{**vars(QUICK), "seed": seed}), folder=tmp_path / str(index))
        for index, seed in enumerate((0, 0, 1))
    ]
    assert same(runs[0].model, runs[1].model) and told(runs[0]) == told(runs[1])
    assert not same(runs[0].model, runs[2].model)


def test_training_leaves_the_random_numbers_of_its_caller_alone(tmp_path):
    def numbers():
        return numpy.random.rand(), float(torch.rand(()))

    model, rows = extended(), data(QUICK)
    for seed in (numpy.random.seed, torch.manual_seed):
        seed(5)
    wanted = numbers()
    for seed in (numpy.random.seed, torch.manual_seed):
        seed(5)
    training.train(model, rows, QUICK, folder=tmp_path)
    assert numbers() == wanted


def test_what_seeds_python_too_is_undone():
    """Apart from the training itself, where the type checks of these tests draw from Python's generator."""
    before = random.getstate()
    with training.own_random_numbers():
        random.seed(1)
    assert random.getstate() == before


def test_the_callers_random_numbers_do_not_reach_the_training(tmp_path):
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        runs.append(training.train(extended(), data(QUICK), QUICK, folder=tmp_path / str(seed)))
    assert same(runs[0].model, runs[1].model)


# ------------------------------------------------------------------------------------------------ the path


class Groups(training.Display):
    """Keeps the optimizer's groups and where they end."""

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **kwargs):
        names = {id(weight): name for name, weight in model.named_parameters()}
        self.groups = [
            ({names[id(weight)] for weight in group["params"]}, group["lr"], group["initial_lr"], group["weight_decay"])
            for group in optimizer.param_groups
        ]


def test_the_field_has_a_group_of_its_own_with_its_rate_and_without_decay(tmp_path):
    seen, plan = Groups(), Plan(**{**vars(QUICK), "path_rate": 5e-4, "weight_decay": 0.2})
    training.train(extended(), data(QUICK), plan, folder=tmp_path, callbacks=[seen])
    decayed, kept, path = seen.groups
    assert path[0] == {name for name, _ in extended().named_parameters() if FIELD in name} and len(path[0]) > 1
    assert path[2:] == (5e-4, 0.0)
    assert decayed[2:] == (1e-2, 0.2) and kept[2:] == (1e-2, 0.0)
    assert decayed[0] | kept[0] | path[0] == {name for name, _ in extended().named_parameters()}
    assert not decayed[0] & path[0] and not kept[0] & path[0]


def test_a_path_rate_of_zero_leaves_the_field_where_it_was_and_trains_the_model(tmp_path):
    before = weights(extended())
    done = training.train(extended(), data(QUICK), Plan(**{**vars(QUICK), "path_rate": 0.0}), folder=tmp_path)
    for name, weight in weights(done.model).items():
        assert torch.equal(weight, before[name]) == (FIELD in name), name


def test_the_model_learns_beside_a_path_what_it_learns_beside_a_frozen_one(tmp_path):
    class Pulled(objectives.NextToken):
        """A path whose gradient is some thousand times the model's."""

        def __call__(self, model, tokens):
            terms = super().__call__(model, tokens)
            path = [weight for name, weight in model.named_parameters() if FIELD in name and weight.requires_grad]
            return {**terms, "pull": sum((1e4 * weight.sum() for weight in path), torch.zeros(())).expand(len(tokens))}

    plan = Plan(**{**vars(QUICK), "path_rate": 0.0})
    free, frozen = extended(), extended()
    hf.rotary_of(frozen).scaling.requires_grad_(False)
    for name, model in (("free", free), ("frozen", frozen)):
        training.train(model, data(QUICK), plan, folder=tmp_path / name, objective=Pulled())
    assert same(free, frozen)


def test_gradients_of_the_model_are_still_cut():
    clip, model = Clip(), plain()
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, 3.0)
    clip.on_train_begin(None, None, None, model=model)
    clip.on_pre_optimizer_step(None, None, None)
    assert torch.stack([weight.grad.norm() for weight in model.parameters()]).norm().item() == pytest.approx(1.0, rel=1e-3)


def test_the_path_can_be_all_that_learns(tmp_path):
    model, before = extended(), weights(extended())
    for name, weight in model.named_parameters():
        weight.requires_grad_(training.PATH in f".{name}")
    done = training.train(model, data(QUICK), QUICK, folder=tmp_path)
    moved = {name for name, weight in weights(done.model).items() if not torch.equal(weight, before[name])}
    assert moved and all(FIELD in name for name in moved)


def test_the_control_is_its_prior_alone_under_the_same_draws(tmp_path):
    """A field of zero weights that is frozen adds exactly nothing to ln θ, so model and log come out the same bit for bit."""
    geometry = dict(head_dim=16, base=10_000.0, window=16)
    clex = scaling.CLEX(**geometry, max_factor=4.0, prior=scaling.YaRN(**geometry), field=ode.BoundedField(8))
    runs = {}
    for name, path in (("control", clex.requires_grad_(False)), ("prior", scaling.YaRN(**geometry))):
        model = clexlab.extend(build(1), path, positions=Stretched())
        runs[name] = training.train(model, data(QUICK), QUICK, folder=tmp_path / name)
    control, prior = (weights(runs[name].model) for name in ("control", "prior"))
    assert all(torch.equal(control[name], weight) for name, weight in prior.items())
    assert set(control) - set(prior) == {name for name in control if training.PATH in f".{name}"}
    assert told(runs["control"]) == told(runs["prior"])


def test_a_trained_model_is_saved_and_loaded_as_it_is(whole, tmp_path):
    whole[0].model.save_pretrained(tmp_path)
    loaded = clexlab.load(tmp_path).eval()
    tokens = batch()
    torch.testing.assert_close(loaded(tokens).logits, whole[0].model(tokens).logits, rtol=0, atol=0)


# ------------------------------------------------------------------------------------------------ precision


def test_under_bfloat16_weights_loss_and_frequencies_stay_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(Plan, "bf16", True)
    model, seen = extended(), {"theta": set(), "loss": set(), "linear": set()}
    rotary, turn, objective = hf.rotary_of(model), hf.rotary_of(model).turn, training.NextToken()

    def watched_turn(x, position_ids, theta, *rest):
        seen["theta"].add(theta.dtype)
        return turn(x, position_ids, theta, *rest)

    def watched_loss(model, tokens):
        terms = objective(model, tokens)
        seen["loss"] |= {values.dtype for values in terms.values()}
        return terms

    rotary.turn = watched_turn
    model.model.layers[0].mlp.down_proj.register_forward_hook(lambda module, given, made: seen["linear"].add(made.dtype))
    low = training.train(model, data(QUICK), QUICK, folder=tmp_path / "low", objective=watched_loss)
    assert seen == {"theta": {torch.float32}, "loss": {torch.float32}, "linear": {torch.bfloat16}}
    assert {weight.dtype for weight in low.model.parameters()} == {torch.float32}
    # Afterwards the model computes in its own precision again.
    assert low.model(batch()).logits.dtype == torch.float32
    seen["linear"].clear()
    low.model(batch())
    assert seen["linear"] == {torch.float32}
    monkeypatch.setattr(Plan, "bf16", False)
    high = training.train(extended(), data(QUICK), QUICK, folder=tmp_path / "high")
    # bfloat16 has 8 bits: a relative 2^-8 in every product, and the loss is near ln 99.
    assert all(math.isclose(a["loss"], b["loss"], rel_tol=2e-2) for a, b in zip(low.curve, high.curve, strict=True))


def test_a_cpu_trains_in_float32():
    assert Plan(steps=1, device="cpu").bf16 is False


# ------------------------------------------------------------------------------------------------ the log


def test_an_entry_has_the_mean_of_all_rows_and_of_every_part(tmp_path):
    """Against the objective by hand, on a model that a rate of zero leaves as it is."""
    plan = Plan(steps=4, rows=4, rate=0.0, log_every=2)
    done = training.train(plain(), data(plan), plan, folder=tmp_path)
    assert [entry["step"] for entry in done.curve] == [1, 2, 4]
    assert list(done.curve[0]) == ["step", "loss", "copy", "text", "rate", "seconds"]
    assert all(isinstance(value, (int, float)) for entry in done.curve for value in entry.values())
    values = training.NextToken()(plain(), data(plan).tokens)["next"].detach()
    parts = {part: [float(value) for value, own in zip(values, data(plan).parts, strict=True) if own == part] for part in ("text", "copy")}
    steps = [entry["step"] - before for entry, before in zip(done.curve, (0, 1, 2), strict=True)]
    mean = sum(entry["loss"] * count for entry, count in zip(done.curve, steps, strict=True)) / 4
    # float32 sums of a few values near ln 99.
    assert math.isclose(mean, float(values.mean()), rel_tol=1e-5)
    shares = [entry["text"] for entry in done.curve]
    assert min(parts["text"]) <= min(shares) and max(shares) <= max(parts["text"])
    assert len(json.dumps(done.curve)) > 0 and done.seconds == done.curve[-1]["seconds"]


def test_terms_of_an_objective_are_logged_under_their_names(tmp_path):
    def objective(model, tokens):
        terms = training.NextToken()(model, tokens)
        return {**terms, "twice": 2 * terms["next"]}

    done = training.train(plain(), data(QUICK), QUICK, folder=tmp_path, objective=objective)
    for entry in done.curve:
        assert math.isclose(entry["loss"], 1.5 * entry["twice"], rel_tol=1e-5)


def test_a_loss_that_is_no_number_ends_the_training(tmp_path):
    model = plain()
    with torch.no_grad():
        model.lm_head.weight[0, 0] = math.nan
    with pytest.raises(training.Diverged, match="nan at step 1; use a smaller rate"):
        training.train(model, data(QUICK), QUICK, folder=tmp_path)


def test_nothing_is_printed_where_there_is_no_terminal_and_lines_are_short(tmp_path, capfd):
    training.train(plain(), data(QUICK), QUICK, folder=tmp_path / "bar")
    out, error = capfd.readouterr()
    assert not out and not error
    training.train(plain(), data(QUICK), QUICK, folder=tmp_path / "lines", callbacks=[training.Lines()])
    out, error = capfd.readouterr()
    assert len(out.splitlines()) == 3 and not error
    assert all(word in out.splitlines()[0] for word in ("step      1 of 3", "loss", "text", "copy", "rate"))


def test_the_bar_is_one_line_with_the_losses_of_every_part(tmp_path, monkeypatch):
    from clexlab.training import progress

    lines = []

    class Recorded(progress.tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **{**kwargs, "file": open(os.devnull, "w"), "disable": False})  # noqa: SIM115 - closed with the test

        def close(self):
            lines.append((self.n, self.total, self.postfix))
            super().close()

    monkeypatch.setattr(progress, "tqdm", Recorded)
    training.train(plain(), data(QUICK), QUICK, folder=tmp_path)
    (done, total, postfix), *rest = [line for line in lines if line[2]]
    assert (done, total) == (3, 3) and all(name in postfix for name in ("loss", "text", "copy"))


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("options", "told_so"),
    [
        (dict(steps=0), "steps is 0"),
        (dict(steps=2, rows=0), "rows is 0"),
        (dict(steps=2, warmup=3), "warmup is 3"),
        (dict(steps=2, rate=-1.0), "rate is -1"),
        (dict(steps=2, path_rate=math.inf), "path_rate is inf"),
        (dict(steps=2, seed=-1), "seed is -1"),
        (dict(steps=2, save_every=0), "save_every is 0"),
        (dict(steps=2, device="tpu"), "device is 'tpu'"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(options, told_so):
    with pytest.raises(ValueError, match=told_so):
        Plan(**options)


def test_rows_that_are_not_the_plans_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the data have 12 rows; 8 steps of 4 need exactly 32"):
        training.train(plain(), data(QUICK), PLAN, folder=tmp_path)


def test_the_model_keeps_its_own_cache_setting(tmp_path):
    for setting in (True, False):
        model = plain()
        model.config.use_cache = setting
        assert training.train(model, data(QUICK), QUICK, folder=tmp_path / str(setting)).model.config.use_cache is setting


def test_a_collated_step_has_its_rows_and_their_parts():
    rows = data(QUICK)
    made = collate([rows[0], rows[1]])
    assert torch.equal(made["input_ids"], rows.tokens[:2]) and made["part"] == ["copy", "text"]
    assert issubclass(PartTrainer, training.PartTrainer)
