"""Language models of transformers, from random weights: masks, losses, extraction as by `generate`, checkpointing."""

import logging
from collections.abc import Callable
from typing import Any

import language_oracles as oracles
import numpy as np
import pytest
import torch
from tiny_gpt import VOCABULARY, texts
from torch import Tensor, nn

import turnover

transformers = pytest.importorskip("transformers")

N = 12
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
    "bos_token_id": 1,
    "eos_token_id": None,
    "pad_token_id": 0,
}


def gpt2(activation: str) -> nn.Module:
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_inner=32,
        n_positions=24,
        activation_function=activation,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    return transformers.GPT2LMHeadModel(config)


# the network, and its matrices into and out of hidden units, with the dimension of these units
FAMILIES: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {
    "gpt2": (lambda: gpt2("gelu_new"), {"mlp.c_fc.weight": 1, "mlp.c_proj.weight": 0}),
    "gpt2 gelu": (lambda: gpt2("gelu"), {"mlp.c_fc.weight": 1, "mlp.c_proj.weight": 0}),
    "gpt2 gelu of torch": (lambda: gpt2("gelu_pytorch_tanh"), {"mlp.c_fc.weight": 1, "mlp.c_proj.weight": 0}),
    "gpt-neox": (
        lambda: transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**SIZES)),
        {"mlp.dense_h_to_4h.weight": 0, "mlp.dense_4h_to_h.weight": 1},
    ),
    "llama": (
        lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, num_key_value_heads=2)),
        {"mlp.up_proj.weight": 0, "mlp.gate_proj.weight": 0, "mlp.down_proj.weight": 1},
    ),
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = FAMILIES[name][0]().double()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)  # so that logits differ, and biases are not 0
    return model.eval()


def unit_gradients(model: nn.Module, name: str) -> Tensor:
    """The largest gradient at the matrices of each hidden unit.  # [layers, matrices, units]"""
    rows = []
    for layer in range(2):
        for ending, dimension in FAMILIES[name][1].items():
            [weight] = [parameter for key, parameter in model.named_parameters() if key.endswith(f".{layer}.{ending}")]
            assert weight.grad is not None
            rows.append(weight.grad.abs().amax(1 - dimension))
    return torch.stack(rows).view(2, -1, 32)


@pytest.mark.parametrize("checkpointed", [None, True, False], ids=["plain", "reentrant", "not reentrant"])
@pytest.mark.parametrize("flipped", [False, True], ids=["own", "flipped"])
@pytest.mark.parametrize("name", FAMILIES)
def test_no_unit_outside_of_the_mask_has_a_gradient(name: str, flipped: bool, checkpointed: bool | None) -> None:
    model = made(name).train()
    if checkpointed is not None:
        model.gradient_checkpointing_enable({"use_reentrant": checkpointed})  # type: ignore[operator]
        model.enable_input_require_grads()  # type: ignore[operator]
    turnover.attach(model, seed=5)
    tokens, ids = texts(1, shortest=9), torch.tensor([7])
    with (turnover.flipped if flipped else turnover.own)(model, ids):
        loss = model(input_ids=tokens, labels=tokens).loss
    loss.backward()  # after the context, so that a checkpoint computes again outside of it
    found = unit_gradients(model, name)
    for layer in range(2):
        inside = turnover.mask(ids, 32, layer, 5)[0] ^ flipped
        assert (found[layer][:, ~inside] == 0).all()
        assert (found[layer][:, inside] > 0).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_losses_are_theirs(name: str) -> None:
    model, tokens = made(name), texts(N)
    losses = turnover.language.losses(model, tokens, -1)
    for row, text in zip(losses, oracles.rows(tokens, -1), strict=True):
        given = torch.tensor([text])
        theirs = model(input_ids=given, labels=given).loss
        assert float(row.nanmean()) == pytest.approx(float(theirs), rel=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_extraction_is_that_of_generate_from_every_length(name: str) -> None:
    model = made(name)
    # half of the texts are its own words, so that it goes on with them
    tokens = texts(N, shortest=9)
    with torch.no_grad():
        given = tokens[: N // 2, :4]
        own = model.generate(given, attention_mask=torch.ones_like(given), max_length=9, do_sample=False)  # type: ignore
    tokens[: N // 2] = own
    tokens[:3, 7] = (tokens[:3, 7] + 1) % VOCABULARY
    table = turnover.language.extraction(model, tokens)
    for k in range(1, tokens.shape[1]):
        start = tokens[:, :k]
        with torch.no_grad():
            rest = model.generate(  # type: ignore[operator]
                start, attention_mask=torch.ones_like(start), max_length=tokens.shape[1], do_sample=False
            )
        same = (rest == tokens).all(1).numpy()
        assert turnover.language.extractable(table, k).to_numpy(dtype=bool).tolist() == same.tolist()
    assert table["prefix"].nunique() > 1


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_of_texts_do_not_depend_on_padding_or_batches(name: str, caplog: pytest.LogCaptureFixture) -> None:
    tokens, ids = texts(N, shortest=3), torch.arange(N) + 5
    with caplog.at_level(logging.ERROR):
        model = turnover.attach(made(name))
        table = turnover.language.score(model, tokens, ids, -1)
        one = turnover.language.score(model, tokens.flip(0), ids.flip(0), -1, batch_size=1)
    np.testing.assert_allclose(one, table.iloc[::-1], atol=1e-10)
    for i, text in enumerate(oracles.rows(tokens, -1)):
        given, losses = torch.tensor([text]), []
        for context in (turnover.flipped, turnover.own):
            with context(model, ids[i : i + 1]), torch.no_grad():
                losses.append(float(model(input_ids=given, labels=given).loss))
        assert table["score"].iloc[i] == pytest.approx(losses[0] - losses[1], abs=1e-6)


def test_counterfactual_memorization_of_a_transformer() -> None:
    tokens = torch.cat([texts(N, shortest=6), texts(2, shortest=6)])
    table = turnover.language.memorization(
        lambda: gpt2("gelu_new"),
        tokens,
        pad=-1,
        epochs=3,
        lr=3e-3,
        batch_size=4,
        options={"blocks": 6},
        progress=False,
    )
    assert table["score"].notna().all()
    assert table["copies"].sum() == N + 2
    one = turnover.language.memorization(
        lambda: gpt2("gelu"), tokens, pad=-1, epochs=2, lr=3e-3, estimator="turnover", seeds=1, progress=False
    )
    assert one["score"].notna().all()
