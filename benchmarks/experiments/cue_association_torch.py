"""One training iteration of cue association beside the same network written directly in PyTorch.

    .venv/bin/python benchmarks/experiments/cue_association_torch.py --torch ~/torch/bin/python --rule nd_bcm

An iteration is 64 trials of 500 ms drawn anew, forward, backward, clipping and a step of Adam. PyTorch runs in a Python
of its own (one that has torch and numpy; nothing else is needed). Before anything is timed, both must give the same
mean reward and the same gradient on the same weights and spikes, in float64. Then each round times every side
once; times are seconds of processor, medians of the rounds; ratios are medians of the ratios within a round.
float32, one thread each.

`direct` forms W + alpha E in each step, as the equations read; `interval` only when the traces change, as ours does.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch_peer import peer

WARM_UP = 5  # iterations before the timed ones


def torch_side(path: Path) -> None:
    """Answer each line of the standard input with one of JSON; runs where torch is."""
    import torch

    torch.set_num_threads(1)
    data = np.load(path, allow_pickle=False)
    spec = json.loads(str(data["spec"]))

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, v: Any) -> Any:
            ctx.save_for_backward(v)
            return (v >= 0).to(v.dtype)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            (v,) = ctx.saved_tensors
            return gradients[0] * spec["scale"] / spec["tau"] * torch.exp(-v.abs() / spec["tau"])

    def layer(p: dict, name: str, pre: list, every: bool) -> list:
        rule, interval = spec["rule"], spec["interval"]
        w = p[f"w_{name}"]
        n_pre, n_post = w.shape
        B, like = pre[0].shape[0], {"dtype": w.dtype}
        x, a, r, b, post = (torch.zeros(B, n, **like) for n in (n_pre, n_pre, n_post, n_post, n_post))
        seen, phi = torch.zeros(B, n_pre, **like), torch.zeros(B, n_pre, **like)
        e = torch.zeros(B, n_pre, n_post, **like)
        d_s, d_r = np.exp(-1.0 / spec["tau_s"]), np.exp(-1.0 / spec["tau_ref"])
        use, out = w, []
        for t, spikes in enumerate(pre):
            a = d_s * (a + np.e / spec["tau_s"] * x)
            x = d_s * x + spikes
            if rule == "none":
                psp = a @ w
            else:
                if every or t % interval == 0:
                    use = w + p[f"alpha_{name}"] * e
                psp = torch.bmm(a[:, None], use)[:, 0]
            b = d_r * (b + np.e / spec["tau_ref"] * r)
            s = Spike.apply(psp - spec["scale_ref"] * spec["v_th"] * b - spec["v_th"])
            r = d_r * r + s
            out.append(s)
            if rule == "none":
                continue
            seen, post = seen + spikes, post + s
            if (t + 1) % interval == 0:
                u, y = seen / interval, post / interval
                eta = p[f"eta_{name}"]
                m = y @ p[f"w_m_{name}"] * y if rule.startswith("nd") else y
                if rule.endswith("oja"):
                    m = m - torch.bmm(u[:, None], e)[:, 0]
                if rule.endswith("bcm"):
                    eta_phi = p[f"eta_phi_{name}"]
                    old, phi = phi, (1 - eta_phi) * phi + eta_phi * u
                    u = u * (u - (old + p[f"psi_{name}"]))
                e = ((1 - eta) * e + eta * u[:, :, None] * m[:, None]).clamp(-spec["e_max"], spec["e_max"])
                seen, post = torch.zeros_like(seen), torch.zeros_like(post)
        return out

    def reward(p: dict, spikes: Any, deciding: Any, answer: Any, every: bool) -> Any:
        out = torch.stack(layer(p, "out", layer(p, "hidden", list(spikes.unbind(0)), every), every))  # (T, B, 2)
        log_odds = spec["gain"] * (out * deciding[:, :, None]).sum(0) / deciding.sum(0)[:, None]
        right = 2 * torch.nn.functional.one_hot(answer, 2) - 1
        return (log_odds.softmax(1) * right).sum(1).mean()

    def tensors(dtype: Any) -> dict:
        return {n: torch.tensor(data[f"p.{n}"], dtype=dtype, requires_grad=True) for n in spec["names"]}

    answer = torch.tensor(data["answer"]).long()

    def same(every: bool) -> dict:
        p = tensors(torch.float64)
        value = reward(p, torch.tensor(data["spikes"]).double(), torch.tensor(data["deciding"]).double(), answer, every)
        value.backward()
        return {"reward": value.item(), "grad": {name: x.grad.flatten().tolist() for name, x in p.items()}}

    p = tensors(torch.float32)
    scales = spec["scales"]
    optimizer = torch.optim.Adam([{"params": [p[n]], "lr": 0.02 * scales[n]} for n in p])
    probability = torch.tensor(data["probability"], dtype=torch.float32)
    deciding = torch.tensor(data["deciding"], dtype=torch.float32)

    def iteration(every: bool) -> dict:
        began = time.process_time()
        spikes = (torch.rand(probability.shape) < probability).float()
        optimizer.zero_grad()
        (-reward(p, spikes, deciding, answer, every)).backward()
        torch.nn.utils.clip_grad_norm_(list(p.values()), 1.0)
        optimizer.step()
        return {"seconds": time.process_time() - began}

    for line in sys.stdin:
        word, mode = line.split()
        print(json.dumps({"same": same, "time": iteration}[word](mode == "direct")), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", help="a Python that has torch")
    parser.add_argument("--rule", default="nd_bcm")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--side", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        torch_side(arguments.side)
        return
    if not arguments.torch:
        parser.error("--torch: expected a Python that has torch")
    from l2l_snn.search.step_rules import StepRule
    from optimizees.cue_association import CueAssociation
    from optimizees.cue_association.trials import NOISE
    from optimizers.gradient_ascent import GradientAscent

    exact = CueAssociation(arguments.rule, precision="float64")
    ours = CueAssociation(arguments.rule)
    space = exact.space
    z = 2 * space.sample(np.random.default_rng(1), 1)  # all neurons fire
    evaluation = exact.evaluate_batch(z, np.array([3]), with_grad=True)
    assert evaluation.grad is not None
    params = space.decode(z[0])
    trials = exact.watch(params, 3)
    names = list(space.parameters)
    scales = {name: parameter.scale for name, parameter in space.parameters.items()}  # pyright: ignore
    fields = {"rule": ours.rule, "gain": ours.gain, "tau_s": ours.tau_s, "tau_ref": ours.tau_ref, "v_th": ours.v_th}
    fields |= {"scale_ref": ours.scale_ref, "tau": ours.surrogate_tau, "scale": ours.surrogate_scale}
    fields |= {"e_max": ours.e_max, "interval": round(ours.delta_tau), "names": names, "scales": scales}
    spikes, deciding = (trials[name].swapaxes(0, 1) for name in ("inputs", "deciding"))
    mean = np.where(spikes.mean(axis=1, keepdims=True) > 0.4, NOISE["low"].event, NOISE["low"].rest)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.npz")
        arrays = {f"p.{name}": params[name] for name in names}
        probability = np.broadcast_to(mean, spikes.shape)
        np.savez(path, spec=json.dumps(fields), spikes=spikes, deciding=deciding, answer=trials["answer"],
                 probability=probability, **arrays)  # fmt: skip
        with peer(arguments.torch, __file__, path) as ask:
            for mode in ("interval", "direct"):
                theirs = ask(f"same {mode}")
                found = np.concatenate([np.array(theirs["grad"][name]) * scales[name] for name in names])
                np.testing.assert_allclose(theirs["reward"], evaluation.fitness[0], rtol=1e-9, atol=1e-12)
                np.testing.assert_allclose(found, evaluation.grad[0], rtol=1e-6, atol=1e-9)
            norm = np.linalg.norm(evaluation.grad[0])
            print(f"mean reward {evaluation.fitness[0]:.6f} and gradient (norm {norm:.4f}) are the same")
            optimizer = GradientAscent(step=StepRule(learning_rate=0.02, clip="global_norm"))
            state = optimizer.init(space, 1)

            def iteration(number: int) -> float:
                nonlocal state
                began = time.process_time()
                asked, state = optimizer.ask(space, state)
                state = optimizer.tell(
                    space, state, asked, ours.evaluate_batch(asked, np.array([number]), with_grad=True)
                )
                return time.process_time() - began

            for number in range(WARM_UP):
                iteration(number + 1)
            ask("time interval")
            times = {"ours": [], "interval": [], "direct": []}
            for number in range(arguments.rounds):
                times["ours"].append(iteration(100 + number))
                for mode in ("interval", "direct"):
                    times[mode].append(ask(f"time {mode}")["seconds"])
    print(f"| {arguments.rule}, one training iteration | ms | over ours | fastest, ms |\n| --- | --- | --- | --- |")
    for name, seconds in times.items():
        label = {"ours": "ours", "interval": "PyTorch, interval", "direct": "PyTorch, direct"}[name]
        ratio = np.median(np.array(seconds) / np.array(times["ours"]))
        print(f"| {label} | {1e3 * np.median(seconds):.0f} | {ratio:.1f} | {1e3 * min(seconds):.0f} |")


if __name__ == "__main__":
    main()
