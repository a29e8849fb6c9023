"""The same networks in PyTorch, with gradients by autograd. It uses nothing from network/."""

import numpy as np

# Each activation in PyTorch, as a function of the module torch and z.
ACTIVATIONS = {
    "relu": lambda torch, z: torch.relu(z),
    "leaky-relu": lambda torch, z: torch.nn.functional.leaky_relu(z),
    "elu": lambda torch, z: torch.nn.functional.elu(z),
    "selu": lambda torch, z: torch.selu(z),
    "gelu": lambda torch, z: torch.nn.functional.gelu(z, approximate="tanh"),
    "silu": lambda torch, z: torch.nn.functional.silu(z),
    # PyTorch replaces it by z above a threshold, 20 by default, where it is larger than z by less than 3e-9
    "softplus": lambda torch, z: torch.nn.functional.softplus(z, threshold=80),
    "sigmoid": lambda torch, z: torch.sigmoid(z),
    "tanh": lambda torch, z: torch.tanh(z),
    "identity": lambda torch, z: z * 1,
}


def network(torch, params, activation):
    """Return the parameters (a host tree) as tensors with gradients, and the network as a function of x."""
    leaves = [{name: torch.tensor(a, requires_grad=True) for name, a in layer.items()} for layer in params]

    def forward(x):
        for layer in leaves[:-1]:
            x = ACTIVATIONS[activation](torch, x @ layer["W"] + layer["b"])
        return x @ leaves[-1]["W"] + leaves[-1]["b"]

    return leaves, forward


def normalized_network(torch, params, activation, kind):
    """Return a float64 module of Linear without bias, BatchNorm1d or LayerNorm, and activation for each hidden layer.

    Its parameters are copies of `params`; `parameter_tree` gives them, or their gradients, as our tree.
    """

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            make_norm = {"batch": torch.nn.BatchNorm1d, "layer": torch.nn.LayerNorm}[kind]
            widths = [len(layer["b"]) for layer in params]
            sources = [params[0]["W"].shape[0], *widths]
            self.linear = torch.nn.ModuleList(
                torch.nn.Linear(n_in, n_out, bias=i == len(params) - 1)
                for i, (n_in, n_out) in enumerate(zip(sources, widths, strict=False))
            )
            self.norm = torch.nn.ModuleList(make_norm(n) for n in widths[:-1])

        def forward(self, x):
            for linear, norm in zip(self.linear, self.norm, strict=False):
                x = ACTIVATIONS[activation](torch, norm(linear(x)))
            return self.linear[-1](x)

    module = Network().double()
    with torch.no_grad():
        for i, layer in enumerate(params):
            for name, parameter in layer_parameters(module, i).items():
                parameter.copy_(torch.tensor(layer[name].T))
    return module


def layer_parameters(module, i):
    """Return the parameters of layer i of a `normalized_network` by our names."""
    linear = module.linear[i]
    if i == len(module.norm):
        return {"W": linear.weight, "b": linear.bias}
    return {"W": linear.weight, "gamma": module.norm[i].weight, "b": module.norm[i].bias}


def parameter_tree(module, value=lambda parameter: parameter):
    """Return the parameters of a `normalized_network`, or a `value` of each, as a host tree like ours."""
    return [
        {name: value(a).detach().numpy().T for name, a in layer_parameters(module, i).items()}
        for i in range(len(module.linear))
    ]


def loss_of(torch, z, y, *, smoothing=0.0, w=None):
    """Return mean cross-entropy for class indices, mean squared error for numbers, of rows times w (B,) if given."""
    if y.dtype.kind in "iu":
        labels = torch.tensor(y.astype(np.int64))
        rows = torch.nn.functional.cross_entropy(z, labels, label_smoothing=smoothing, reduction="none")
    else:
        rows = torch.nn.functional.mse_loss(z, torch.tensor(y), reduction="none").mean(dim=-1)
    return rows.mean() if w is None else (rows * torch.tensor(w)).mean()


def gradients(torch, params, x, y, activation, **options):
    """Return loss and gradient by autograd, as host numbers."""
    leaves, forward = network(torch, params, activation)
    loss = loss_of(torch, forward(torch.tensor(x)), y, **options)
    loss.backward()
    return loss.item(), [{name: leaf.grad.numpy() for name, leaf in layer.items()} for layer in leaves]
