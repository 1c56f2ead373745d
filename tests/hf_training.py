"""What tests of training share, importable in processes that torch spawns: a tiny model, samplers, one step, two ranks."""

import os
from dataclasses import dataclass
from pathlib import Path

import hf_models
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

import clexlab
from clexlab import hf, positions, scaling

WINDOW, LENGTH = 16, 12
FIELD = "rotary_emb.scaling.field."
RANKS, STEPS, RATE = 2, 2, 0.1


@dataclass(frozen=True)
class Stretched:
    """Rising positions anywhere in factor · window, at one of `factors` in turn by chance."""

    factors: tuple[float, ...] = (1.0, 2.0, 3.5)

    def draw(self, length: int, generator: torch.Generator) -> positions.Draw:
        factor = self.factors[int(torch.randint(len(self.factors), (1,), generator=generator))]
        return positions.Draw(torch.rand(length, generator=generator).sort().values * (factor * WINDOW - 1), factor)


def build(layers: int = 2) -> nn.Module:
    return hf_models.by_name("llama").build(layers, WINDOW)


def lively(max_factor: float = 4.0) -> scaling.CLEX:
    """CLEX on the tiny model's geometry with a field that moves every frequency."""
    clex = scaling.CLEX(head_dim=hf_models.HEAD_DIM, base=10_000.0, window=WINDOW, max_factor=max_factor)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in clex.field.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return clex


def learner(sampler: positions.Sampler | None = None, layers: int = 2) -> nn.Module:
    """The tiny model with a learned path, in train mode."""
    return clexlab.extend(build(layers), lively(), positions=Stretched() if sampler is None else sampler).train()


def batch(seed: int = 0, rows: int = 2) -> Tensor:
    return torch.randint(2, hf_models.VOCABULARY, (rows, LENGTH), generator=torch.Generator().manual_seed(seed))


def loss(model: nn.Module, tokens: Tensor, seed: int = 0) -> Tensor:
    """The loss with the draw that this seed gives: samplers use torch's global generator, as dropout does."""
    torch.manual_seed(seed)
    return model(input_ids=tokens, labels=tokens).loss


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def sampler_of(rank: int, scene: str) -> Stretched:
    """At factor 1 the field has nothing to say, and DDP would miss its gradients if it were left out of the graph."""
    return Stretched((1.0,)) if scene == "all_at_1" or rank == 0 else Stretched((3.0,))


def one_rank(rank: int, folder: str) -> None:
    """Body of a spawned process: two steps under DDP in two scenes, one step under FSDP2; what came out goes to `folder`."""
    torch.set_num_threads(1)
    # gloo asks the host's name for an address unless it is told the interface.
    os.environ["GLOO_SOCKET_IFNAME"] = "lo0" if os.uname().sysname == "Darwin" else "lo"
    dist.init_process_group("gloo", init_method=(Path(folder) / "meeting").as_uri(), rank=rank, world_size=RANKS)
    found = {scene: ddp_gradients(rank, scene) for scene in ("all_at_1", "apart")}
    found["sharded"] = sharded_step(rank)
    found["mixed"] = mixed_precision_gradients(rank)
    found["refusal"] = refusal_of_half_precision(rank)
    if rank == 0:
        torch.save(found, Path(folder) / "found.pt")
    dist.barrier()
    dist.destroy_process_group()


def ddp_gradients(rank: int, scene: str) -> list[dict[str, Tensor]]:
    model = learner(sampler_of(rank, scene))
    wrapped, found = DistributedDataParallel(model), []
    for step in range(STEPS):
        model.zero_grad()
        loss(wrapped, batch(RANKS * step + rank), seed=step).backward()
        found.append(gradients(model))
    return found


def sharded_step(rank: int) -> dict[str, Tensor]:
    model = learner(sampler_of(rank, "apart"))
    mesh = init_device_mesh("cpu", (RANKS,))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    loss(model, batch(rank), seed=0).backward()
    optimizer.step()
    return {name: weight.full_tensor() for name, weight in model.state_dict().items()}


HALF = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


def mixed_precision_gradients(rank: int) -> dict[str, Tensor]:
    """Layers compute in bf16; the path is sharded on its own, under no policy, so that the solve stays in float32."""
    model = learner(sampler_of(rank, "apart"))
    mesh = init_device_mesh("cpu", (RANKS,))
    fully_shard(hf.rotary_of(model).scaling, mesh=mesh)
    fully_shard(model, mesh=mesh, mp_policy=HALF)
    loss(model, batch(rank), seed=0).backward()
    return {name: weight.grad.full_tensor() for name, weight in model.named_parameters()}


def refusal_of_half_precision(rank: int) -> str:
    """What is said when the policy reaches the field."""
    model = fully_shard(learner(), mesh=init_device_mesh("cpu", (RANKS,)), mp_policy=HALF)
    try:
        loss(model, batch(rank))
    except ValueError as error:
        return str(error)
    return ""


def average_gradients(scene: str, step: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """What two ranks must agree on, computed one after the other in this process, with the model cast to `dtype`."""
    ranks = []
    for rank in range(RANKS):
        model = learner(sampler_of(rank, scene)).to(dtype)
        loss(model, batch(RANKS * step + rank), seed=step).backward()
        ranks.append(gradients(model))
    return {name: sum(each[name] for each in ranks) / RANKS for name in ranks[0]}


def compiled(rank: int, folder: str) -> None:
    """Body of a spawned process, since dynamo cannot trace the checks that pytest puts around every function of clexlab."""
    torch.set_num_threads(1)
    found = {"pinned": compiled_pinned(), "learner": compiled_learner()}
    found["generation"] = {cache: compiled_generation(cache) for cache in ("frozen", "rerotate")}
    torch.save(found, Path(folder) / "compiled.pt")


@torch.no_grad()
def compiled_pinned() -> list[tuple[Tensor, Tensor]]:
    """Logits of one graph and of the model itself, for two lengths; a second compilation is an error."""
    model = clexlab.extend(build(1), scaling.YaRN(head_dim=hf_models.HEAD_DIM, base=1e4, window=WINDOW), factor=3.0)
    whole = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=True)
    texts = [batch(), torch.cat((batch(1), batch(2)), dim=1)]
    first = whole(texts[0]).logits
    with torch.compiler.set_stance("fail_on_recompile"):
        return [(first, model(texts[0]).logits), (whole(texts[1]).logits, model(texts[1]).logits)]


def compiled_learner() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients with and without torch.compile, over the graph break that the solve is."""
    model, found = learner(layers=1), []
    for each in (torch.compile(model, backend="aot_eager"), model):
        model.zero_grad()
        loss(each, batch()).backward()
        found.append(gradients(model))
    return tuple(found)


def compiled_generation(cache: str) -> tuple[Tensor, Tensor, int]:
    """Tokens generated over two changes of the factor into a static cache, compiled and not, and how many graphs ran."""
    model, graphs = build(1), []
    clexlab.extend(model, hf.scaling_for(model, scaling.YaRN), cache=cache)

    def counting(graph, inputs):
        def run(*given):
            graphs.append(graph)
            return graph(*given)

        return run

    options = dict(max_new_tokens=3 * WINDOW - LENGTH - 4, do_sample=False, cache_implementation="static")
    wanted = model.generate(batch(), **options)
    stock, model.forward = model.forward, torch.compile(model.forward, backend=counting)
    found = model.generate(batch(), **options)
    model.forward = stock
    return found, wanted, len(graphs)
