"""One PPO update of a plastic network of jobs/half_cheetah_ppo.yaml beside the same in PyTorch with snnTorch's spikes.

    python benchmarks/experiments/ppo_torch.py --torch ~/torch/bin/python --rule nd_oja --rounds 5

An update is all that follows a rollout: its epochs and minibatches, each forward through 10 actions, backward, clipping
and Adam, of policy and critic. PyTorch runs in a Python of its own, one that has torch, numpy and snntorch. Before
anything is timed, both must give the same loss and the same gradient for the same minibatch, in float64. Then each
round times both sides once, one after the other; times are seconds of processor, ratios medians of the ratios within a
round. float32, one thread each; ours includes what the optimizer does around the compiled update.

PyTorch's side takes a layer's products for all steps of an action in one, as ours, and loops over the rest; snnTorch
has no neuron with these kernels, so only its spike function is used.
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

JOB = "jobs/half_cheetah_ppo.yaml"


def torch_side(path: Path) -> None:
    """Answer each line of the standard input with one of JSON; runs where torch is."""
    import snntorch.surrogate
    import torch

    torch.set_num_threads(1)
    data = np.load(path, allow_pickle=False)
    spec = json.loads(str(data["spec"]))
    layers, rule, steps = spec["layers"], spec["rule"], spec["steps"]
    d_s, d_r = np.exp(-1.0 / spec["tau_s"]), np.exp(-1.0 / spec["tau_ref"])
    rise_s, rise_r = np.e / spec["tau_s"], np.e / spec["tau_ref"]

    def slope(v: Any, gradient: Any, _: Any) -> Any:
        return gradient * spec["scale"] / spec["tau"] * torch.exp(-v.abs() / spec["tau"])

    spike = snntorch.surrogate.custom_surrogate(slope)

    def advance(p: dict, k: int, state: dict, spikes: list) -> tuple[dict, list]:
        x, a, responses = state["x"], state["a"], []
        for s in spikes:
            a = d_s * (a + rise_s * x)
            x = d_s * x + s
            responses.append(a)
        together = torch.stack(responses, 1)  # (B, T, n_pre)
        w = p[f"w_{k}"]
        psp = together @ w if rule == "none" else torch.bmm(together, w + p[f"alpha_{k}"] * state["e"])
        r, b, own = state["r"], state["b"], []
        for u in psp.unbind(1):
            b = d_r * (b + rise_r * r)
            s = spike(u - spec["scale_ref"] * spec["v_th"] * b - spec["v_th"]).to(u.dtype)
            r = d_r * r + s
            own.append(s)
        e, phi = state["e"], state["phi"]
        if rule != "none":
            pre, y = torch.stack(spikes).sum(0) / steps, torch.stack(own).sum(0) / steps
            eta = p[f"eta_{k}"]
            m = y @ p[f"w_m_{k}"] * y if rule.startswith("nd") else y
            if rule.endswith("oja"):
                m = m - torch.bmm(pre[:, None], e)[:, 0]
            else:
                old, phi = phi, (1 - p[f"eta_phi_{k}"]) * phi + p[f"eta_phi_{k}"] * pre
                pre = pre * (pre - (old + p[f"psi_{k}"]))
            e = ((1 - eta) * e + eta * pre[:, :, None] * m[:, None]).clamp(-spec["e_max"], spec["e_max"])
        return {"x": x, "a": a, "r": r, "b": b, "e": e, "phi": phi}, own

    def log_probs(p: dict, states: list, trains: Any, actions: Any) -> Any:
        """Of segments: trains (B, K, T, n), actions (B, K, A)."""
        found, half = [], spec["population"] // 2
        for k in range(trains.shape[1]):
            spikes, after = list(trains[:, k].unbind(1)), []
            for i, state in enumerate(states):
                new, spikes = advance(p, i, state, spikes)
                after.append(new)
            states = after
            counts = torch.stack(spikes).sum(0).reshape(len(trains), -1, spec["population"])
            out = spec["gain"] * (counts[..., :half].sum(-1) - counts[..., half:].sum(-1)) / (steps * half)
            away = (actions[:, k] - out) * torch.exp(-p["log_std"])
            found.append((-0.5 * away**2 - p["log_std"] - 0.5 * np.log(2 * np.pi)).sum(-1))
        return torch.stack(found, 1)

    def loss(z: dict, critic: list, some: dict, trains: Any) -> Any:
        p = {name: spec["means"][name] + spec["scales"][name] * one for name, one in z.items()}
        states = [
            {name: some[f"{name}{k}"] for name in ("x", "a", "r", "b", "e", "phi")} for k in range(layers)
        ]  # fmt: skip
        ratio = torch.exp(log_probs(p, states, trains, some["actions"]) - some["log_probs"])
        gain = some["advantages"]
        gain = (gain - gain.mean()) / (gain.std(correction=0) + 1e-8)
        clipped = ratio.clamp(1 - spec["clip"], 1 + spec["clip"])
        x = some["observations"]
        for i in range(0, len(critic) - 2, 2):
            x = torch.tanh(x @ critic[i] + critic[i + 1])
        error = (x @ critic[-2] + critic[-1])[..., 0] - some["returns"]
        return 0.5 * (error**2).mean() - torch.minimum(ratio * gain, clipped * gain).mean()

    def tensors(prefix: str, dtype: Any) -> dict:
        names = [name for name in data.files if name.startswith(prefix)]
        return {n.removeprefix(prefix): torch.tensor(data[n], dtype=dtype, requires_grad=prefix == "z.") for n in names}

    def critic_of(dtype: Any) -> list:
        parts, start, flat = [], 0, torch.tensor(data["critic"], dtype=dtype)
        for pre, post in spec["critic"]:
            parts += [flat[start : start + pre * post].reshape(pre, post), flat[start + pre * post :][:post]]
            start += (pre + 1) * post
        return [part.clone().requires_grad_() for part in parts]

    def same() -> dict:
        z, critic, all_of = tensors("z.", torch.float64), critic_of(torch.float64), tensors("d.", torch.float64)
        chosen = torch.tensor(data["order"][0]).long()
        some = {name: one[chosen] for name, one in all_of.items()}
        value = loss(z, critic, some, torch.tensor(data["trains"]).double())
        value.backward()
        return {"loss": value.item(), "grad": {name: x.grad.flatten().tolist() for name, x in z.items()}}

    z, critic, all_of = tensors("z.", torch.float32), critic_of(torch.float32), tensors("d.", torch.float32)
    rates = ((list(z.values()), spec["learning_rate"]), (critic, spec["critic_rate"]))
    adam = torch.optim.Adam([{"params": one, "lr": rate} for one, rate in rates], betas=(0.9, spec["b2"]), eps=1e-5)
    order = torch.tensor(data["order"]).long()

    def update() -> dict:
        began = time.process_time()
        for chosen in order:
            some = {name: one[chosen] for name, one in all_of.items()}
            p = some["p"][:, :, None].expand(-1, -1, steps, -1)
            adam.zero_grad()
            loss(z, critic, some, (torch.rand(p.shape) < p).float()).backward()
            for group, _ in rates:
                torch.nn.utils.clip_grad_norm_(group, spec["max_norm"])
            adam.step()
        return {"seconds": time.process_time() - began}

    for line in sys.stdin:
        print(json.dumps({"same": same, "time": update}[line.strip()]()), flush=True)


def prepare(rule: str) -> tuple[Any, Any, Any, Any, Any]:
    """Return optimizee, optimizer, its state, z and an evaluation with experience."""
    from l2l_snn.loop.job import load

    _, gym, ppo = load(Path(JOB), [f"optimizee.plastic.rule={rule}"])
    state = ppo.init(gym.space, 1)
    z, state = ppo.ask(gym.space, state)
    return gym, ppo, state, z, gym.gather(z, np.array([1]))


def _as_double(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) if x.dtype == np.float32 else x


def write_data(path: Path, gym: Any, ppo: Any, state: Any, experience: Any) -> tuple[float, np.ndarray]:
    """Write what PyTorch's side needs; return the loss of the first minibatch and its gradient, (D,), by ours."""
    import jax
    import jax.numpy as jnp

    from l2l_snn.search.critic import Critic
    from l2l_snn.search.returns import advantages
    from l2l_snn.snn.coding import place_code

    net, space, segment = gym.acting, gym.space, gym.segment
    generator = np.random.default_rng(1)
    count = experience.rewards.size // segment
    size = count // ppo.minibatches
    order = np.concatenate([generator.permutation(count).reshape(-1, size) for _ in range(ppo.epochs)])
    critic = Critic(experience.observations.shape[-1], ppo.critic)
    weights = critic.sample(generator) + 0.01 * generator.standard_normal(len(critic.sample(generator)))
    with jax.enable_x64(True):
        values, later = (critic.values(weights, x) for x in (experience.observations, experience.next_observations))
        rewards = ppo.reward_scale * experience.rewards
        gains = advantages(
            rewards, values, later, experience.terminated, experience.truncated, ppo.discount, ppo.decay
        )  # fmt: skip
        whole = jax.tree.map(lambda x: _as_double(x.reshape(-1, *x.shape[2:])), experience.segments)
        steps = {"observations": experience.observations, "log_probs": experience.log_probs}
        steps |= {"advantages": gains, "returns": gains + values, "actions": experience.actions}
        data = {name: np.asarray(x).reshape(count, segment, *x.shape[2:]) for name, x in steps.items()}

        def train(seen: Any, words: Any) -> Any:
            key, _ = jax.random.split(jax.random.wrap_key_data(words))
            return net.coding.encode(key, seen, net.steps)

        chosen = jax.tree.map(lambda x: jnp.asarray(x[order[0]]), {"s": whole} | data)
        trains = jax.vmap(jax.vmap(train))(chosen["s"]["seen"], chosen["s"]["words"])

        def loss(z: Any) -> Any:
            log_probs, _ = gym.log_probs(z, chosen["s"])
            gain = (chosen["advantages"] - chosen["advantages"].mean()) / (chosen["advantages"].std() + 1e-8)
            ratio = jnp.exp(log_probs - chosen["log_probs"])
            surrogate = jnp.minimum(ratio * gain, jnp.clip(ratio, 1 - ppo.clip, 1 + ppo.clip) * gain)
            error = critic.values(jnp.asarray(weights), chosen["observations"]) - chosen["returns"]
            return 0.5 * (error**2).mean() - surrogate.mean()

        value, grad = jax.jit(jax.value_and_grad(loss))(jnp.asarray(state.z))
        cells = {"sharpness": net.coding.sharpness, "floor": net.coding.floor}
        p = place_code(jnp.asarray(whole["seen"]), -1.0, 1.0, net.coding.cells, **cells)
        p = p.reshape(*p.shape[:2], -1)
    for k, layer in enumerate(whole["state"]):
        empty = np.zeros(count)
        trace = layer.trace if net.rule != "none" else None
        parts = {"x": layer.arriving.x, "a": layer.arriving.a, "r": layer.refractory.x, "b": layer.refractory.a}
        parts |= {"e": empty if trace is None else trace.e, "phi": empty if trace is None else trace.phi}
        data |= {f"{name}{k}": part for name, part in parts.items()}
    names = ("steps", "population", "gain", "tau_s", "tau_ref", "scale_ref", "v_th", "e_max", "rule")
    spec = {name: getattr(net, name) for name in names} | {"layers": len(net.hidden) + 1, "critic": critic.shapes}
    spec |= {"tau": net.surrogate_tau, "scale": net.surrogate_scale}
    spec |= {name: getattr(ppo, name) for name in ("clip", "learning_rate", "critic_rate", "max_norm", "b2")}
    parameters = space.parameters
    spec["means"] = {name: p.mean for name, p in parameters.items()}
    spec["scales"] = {name: p.scale for name, p in parameters.items()}
    z = {f"z.{name}": state.z[space.slices[name]].reshape(p.shape) for name, p in parameters.items()}
    rows = {f"d.{name}": np.asarray(x, np.float64) for name, x in (data | {"p": p}).items()}
    np.savez(path, spec=json.dumps(spec), order=order, critic=weights, trains=np.asarray(trains), **z, **rows)
    return float(value), np.asarray(grad)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", help="a Python that has torch, numpy and snntorch")
    parser.add_argument("--rule", default="nd_oja")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        return torch_side(options.side)
    if not options.torch:
        parser.error("--torch: expected a Python that has torch and snntorch")
    gym, ppo, state, z, evaluation = prepare(options.rule)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.npz")
        loss, grad = write_data(path, gym, ppo, state, evaluation.experience[0])
        with peer(options.torch, __file__, path) as ask:
            theirs = ask("same")
            np.testing.assert_allclose(theirs["loss"], loss, rtol=1e-6)
            for name, part in gym.space.slices.items():
                largest = np.abs(grad[part]).max()
                np.testing.assert_allclose(theirs["grad"][name], grad[part], rtol=1e-3, atol=1e-5 * largest)
            print(f"{options.rule}: loss {loss:.6f} and gradient (norm {np.linalg.norm(grad):.4g}) are the same")

            def update() -> float:
                began = time.process_time()
                ppo.tell(gym.space, state, z, evaluation)
                return time.process_time() - began

            first = update() if options.rounds else 0.0
            times = np.array([(update(), ask("time")["seconds"]) for _ in range(options.rounds)])
    if options.rounds:
        ours, torch = np.median(times, axis=0)
        ratio, extra = np.median(times[:, 1] / times[:, 0]), first - ours
        print(f"an update: ours {ours:.2f} s, PyTorch {torch:.2f} s, {ratio:.1f} times; compiled in {extra:.1f} s")
    return None


if __name__ == "__main__":
    main()
