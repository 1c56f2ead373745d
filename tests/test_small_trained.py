"""The small model trained by the Trainer of all, and measured by what measures all."""

import dataclasses
import math
import shutil

import pytest
import torch
from small_models import CONFIG, PLACES, WINDOW, model, options, tokens
from torch.nn import functional

from clexlab import biases, bpe, evaluation, hf, rows, small
from clexlab.objectives import NextToken
from clexlab.training import Lines, Plan, checkpoints, train


@pytest.mark.parametrize("name", ["kerple_log", "clex"])
def test_it_is_trained_by_the_trainer_of_all_and_resumed_to_the_same_weights(name, tmp_path):
    made = small.fresh(CONFIG, 0, **options(PLACES[name]))
    data = rows.Rows(tokens(8, WINDOW).repeat(2, 1), ["text"] * 16)
    plan = Plan(steps=4, rows=4, rate=3e-3, log_every=2, save_every=2)
    trained = train(made, data, plan, folder=tmp_path, callbacks=[Lines()])
    assert trained.model is made and trained.curve[-1]["loss"] < trained.curve[0]["loss"]
    shutil.rmtree(tmp_path / "checkpoint-4")
    with pytest.raises(ValueError, match="another one: .*places was"):
        train(small.fresh(CONFIG, 0, bias=biases.ALiBi), data, plan, folder=tmp_path, resume=True, callbacks=[Lines()])
    again = train(small.fresh(CONFIG, 0, **options(PLACES[name])), data, plan, folder=tmp_path, resume=True, callbacks=[Lines()])
    assert all(torch.equal(weight, again.model.state_dict()[key]) for key, weight in made.state_dict().items())


def test_a_training_of_a_model_of_another_shape_is_another_training(tmp_path):
    data = rows.Rows(tokens(4, WINDOW), ["text"] * 4)

    def about(config):
        return checkpoints.describe(small.fresh(config, 0, bias=biases.ALiBi), data, Plan(steps=1, rows=4, rate=1e-3), NextToken(), 1)

    checkpoints.write_about(tmp_path, about(CONFIG))
    checkpoints.check_about(tmp_path, about(CONFIG))
    # The same parameters, split into fewer heads.
    with pytest.raises(ValueError, match="another one: shape was"):
        checkpoints.check_about(tmp_path, about(dataclasses.replace(CONFIG, heads=2)))


@pytest.mark.parametrize("name", ["yarn", "alibi"])
def test_a_measurement_names_the_small_models_scaling(name):
    made = model(name)
    path = made.places.scaling
    assert evaluation.path_of(made) is path
    measured = evaluation.measure(made, name, [tokens(1, 2 * WINDOW + 1)[0]], WINDOW, (1, 2))
    assert measured.scaling == (None if path is None else hf.spec.describe(path))
    record = evaluation.record(measured, experiment="small", run=name, config={}, seed=0, device="cpu")
    assert record.config["scaling"] == measured.scaling and (path is None or record.config["scaling"]["name"] == "yarn")
    assert record.metrics["scale"] == {"1": 1.0, "2": 1.0 if path is None else 2.0}


@pytest.mark.parametrize("name", ["none", "yarn", "t5", "self_extend", "local"])
def test_its_loss_by_length_is_that_of_a_loop(name):
    made, text = model(name), tokens(1, 2 * WINDOW + 1)[0]
    measured = evaluation.loss_by_length(made, [text], WINDOW, (1, 2))
    assert [row.scale for row in measured.rows] == [1.0, 1.0 if made.places.scaling is None else 2.0]
    for row in measured.rows:
        read, wanted = text[None, -row.length - 1 : -1], text[-row.length :]
        with torch.no_grad():
            losses = functional.cross_entropy(made(read).logits[0], wanted, reduction="none")
        assert row.last == pytest.approx(losses[-WINDOW // 4 :].mean().item(), abs=1e-5)
        assert row.whole == pytest.approx(losses.mean().item(), abs=1e-5)


def test_recall_is_measured_on_it(generator):
    config = dataclasses.replace(CONFIG, vocabulary=bpe.SIZE, window=128)
    made = small.fresh(config, 0, bias=biases.ALiBi)
    documents = [torch.randint(1, bpe.SIZE, (2000,), generator=generator)]
    trials = evaluation.passkeys(bpe.load(), documents, 256, 2, generator)
    measured = evaluation.recall(made, trials, 128, (1, 2), (0.0, 1.0))
    assert measured.exact(1) == 0 and measured.loss(2) == pytest.approx(math.log(bpe.SIZE), rel=0.1)
    assert measured.factors == (1.0, 2.0)


HALVED = ["identity", "yarn", "alibi", "t5", "kerple_log", "sandwich", "fire", "cope", "cope and rope", "self_extend", "local"]


@pytest.mark.parametrize("name", HALVED)
@torch.no_grad()
def test_in_half_precision_every_token_is_read_with_its_positions(name):
    text = tokens()

    def losses(made):
        for bias in made.decoder.biases:
            if isinstance(bias, biases.FIRE):
                # Its network starts as good as flat.
                bias.second.weight *= 10
        return functional.cross_entropy(made(text).logits[:, :-1].flatten(0, 1).float(), text[:, 1:].flatten(), reduction="none")

    assert model(name).bfloat16()(text).logits.dtype == torch.bfloat16
    whole, half, none = losses(model(name)), losses(model(name).bfloat16()), losses(model("none"))
    # Weights and activations of three digits cost 0.002 to 0.014 nats a token here; positions lost would cost 0.03 to 0.2.
    assert float((half - whole).abs().mean()) < float((none - whole).abs().mean()) / 6
