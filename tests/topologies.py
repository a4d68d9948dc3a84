"""Random networks of random topology: convolutions, pools, branches, k-bit thresholds, in any order that has a meaning."""

import collections

import numpy as np

from bnnhw.ir import (
    Add,
    Affine,
    ArgMax,
    BankAffine,
    BankThreshold,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    Flatten,
    GroupSum,
    Input,
    Lookup,
    MaxPool2d,
    Network,
    SumPool2d,
    TensorType,
    Thermometer,
    Threshold,
)

INPUTS = [(0, 255, 1), (-1, 1, 2), (0, 3, 1), (-3, 3, 2), (-128, 127, 1), (-5, 7, 3)]
MORE_INPUTS = [(7, 8, 1), (5, 5, 1), (0, 1000, 1), (-700, 800, 3), (0, 2**20, 1), (-9, -3, 2)]


class Topology:
    """Builds a network operation by operation; knows the types on the way."""
    most_channels = 5

    def __init__(self, seed, largest=7):
        self.rng = np.random.default_rng(seed)
        self.operations, self.types = [], {}
        shape = (*self.rng.integers(1, largest + 1, 2), self.rng.integers(1, 4))
        self.edge = None
        self.add(Input, "x", TensorType(shape, *INPUTS[self.rng.integers(len(INPUTS))]))

    @property
    def type(self):
        return self.types[self.edge]

    def chance(self, p):
        return self.rng.random() < p

    def add(self, kind, *arguments, **more):
        name = f"{kind.__name__.lower()}{len(self.operations)}"
        operation = kind(name, *arguments[1:], **more) if kind is Input else kind(name, *arguments, **more)
        self.types[name] = operation.infer(*(self.types[source] for source in operation.inputs))
        self.operations.append(operation)
        self.edge = name
        return name

    def weights(self, *shape):
        return self.rng.choice([-1, 0, 1] if self.chance(0.25) else [-1, 1], shape)

    def kernel(self, most=3):
        return tuple(int(self.rng.integers(1, min(n, most) + 1)) for n in self.type.shape[:2])

    def stride(self):
        return tuple(map(int, self.rng.choice([1, 1, 2, 3], 2)))

    def fills(self):
        """Values of padded places to choose from."""
        return [-1, 1, 0, self.type.lo]

    def convolution(self, *, same=False, depthwise=None):
        depthwise = self.chance(0.25) if depthwise is None else depthwise
        kernel, channels = self.kernel(), self.type.channels
        if same:
            padding, stride = [(k // 2, (k - 1) // 2) for k in kernel], (1, 1)
            padding = (*padding[0], *padding[1])
        else:
            some = self.chance(0.5)
            padding, stride = tuple(int(self.rng.integers(0, k)) if some else 0 for k in np.repeat(kernel, 2)), self.stride()
        fill = int(self.rng.choice(self.fills()))
        if depthwise:
            return self.add(DepthwiseConv2d, self.edge, self.weights(channels, *kernel), stride, padding, fill)
        n_out = channels if same else int(self.rng.integers(1, self.most_channels + 1))
        return self.add(Conv2d, self.edge, self.weights(n_out, *kernel, channels), stride, padding, fill)

    def threshold(self, levels=None):
        levels = int(self.rng.choice([1, 1, 1, 2, 3, 7])) if levels is None else levels
        type = self.type
        values = self.rng.integers(type.lo - type.step, type.hi + type.step + 1, (type.channels, levels))
        base, step = (-1, 2) if levels == 1 and self.chance(0.8) else (0, 1)
        self.add(Threshold, self.edge, values, self.rng.random(type.channels) < 0.3, base, step)

    def norm(self):
        channels = self.type.channels
        self.add(Affine, self.edge, self.rng.integers(-3, 4, channels), self.rng.integers(-9, 10, channels))

    def pool(self):
        kind = SumPool2d if self.chance(0.3) else MaxPool2d
        self.add(kind, self.edge, self.kernel(), self.stride())

    def residual(self):
        """A branch that goes round a convolution of equal size, in fixed point."""
        start = self.edge
        if self.chance(0.5):
            self.threshold()
        self.convolution(same=True)
        if self.chance(0.5):
            self.norm()
        if self.type.shape == self.types[start].shape:
            self.add(Add, self.edge, start)
        if self.chance(0.5):
            self.threshold()

    def block(self):
        kind = self.rng.choice(["convolution", "pool", "residual", "threshold"], p=[0.4, 0.2, 0.3, 0.1])
        getattr(self, kind)()
        if self.chance(0.25):
            self.norm()
        if self.chance(0.7) or self.type.bits > 10:
            self.threshold()

    def head(self):
        if self.chance(0.3):
            self.threshold(1)
        self.add(Flatten, self.edge)
        if self.chance(0.5):
            self.add(Dense, self.edge, self.weights(int(self.rng.integers(1, 7)), self.type.size))
            self.threshold()
        self.add(Dense, self.edge, self.weights(int(self.rng.integers(1, 6)), self.type.size))
        if self.chance(0.3):
            n = self.type.size
            self.add(Affine, self.edge, self.rng.integers(-5, 6, n), self.rng.integers(-20, 21, n))
        return Network([*self.operations, ArgMax("class", self.edge)], "class")


class WideTopology(Topology):
    """What the others lack: tasks with banks, sums of vectors, tables with votes, levels out of reach, inputs of any range, more
    channels, padding with more than the lowest value."""
    most_channels = 9

    def __init__(self, seed, largest=5):
        super().__init__(seed, largest)
        ranges = INPUTS + MORE_INPUTS
        shape = (*self.type.shape[:2], self.rng.integers(1, 8))
        first = Input(self.edge, TensorType(shape, *ranges[self.rng.integers(len(ranges))]))
        task = Input("task", TensorType((), 0, int(self.rng.integers(1, 8))))
        self.tasks = task.type.hi + 1 if self.chance(0.5) else 1
        self.operations = [first, task] if self.tasks > 1 else [first]
        self.types = {operation.name: operation.type for operation in self.operations}

    def fills(self):
        return [0, self.type.hi, self.type.hi]

    def levels(self, *shape):
        """Of a threshold on the edge, some of them out of its reach."""
        type = self.type
        values = self.rng.integers(type.lo - type.step, type.hi + type.step + 1, shape)
        return np.where(self.rng.random(shape) < 0.15, self.rng.choice([type.lo, type.hi, -10**7, 10**7], shape), values)

    def threshold(self, levels=None):
        levels = int(self.rng.choice([1, 1, 1, 2, 3, 7])) if levels is None else levels
        base, step = [(-1, 2), (0, 1), (-7, 3)][self.rng.integers(3)]
        channels = self.type.channels
        self.add(Threshold, self.edge, self.levels(channels, levels), self.rng.random(channels) < 0.3, base, step)

    def bank_threshold(self):
        shape = self.tasks, self.type.channels
        self.add(BankThreshold, self.edge, "task", self.levels(*shape, 1), self.rng.random(shape) < self.rng.choice([0, 0.4]))

    def bank_affine(self):
        shape = self.tasks, self.type.channels
        self.add(BankAffine, self.edge, "task", self.rng.integers(-9, 10, shape), self.rng.integers(-20, 21, shape))

    def dense(self, most):
        self.add(Dense, self.edge, self.weights(int(self.rng.integers(1, most + 1)), self.type.size))

    def lookup(self):
        """Signs, tables that choose from them, votes."""
        if not self.type.is_bipolar:
            self.add(Thermometer, self.edge, np.sort(self.rng.integers(self.type.lo, self.type.hi + 2, self.rng.integers(1, 4))))
        for _ in range(int(self.rng.integers(1, 3))):
            fan, neurons = int(self.rng.integers(1, 7)), 2 * int(self.rng.integers(1, 6))
            indices = self.rng.integers(0, self.type.size, (neurons, fan))
            self.add(Lookup, self.edge, indices, self.rng.choice([-1, 1], (neurons, 2**fan)))
        self.add(GroupSum, self.edge, int(self.rng.choice([1, 2])))

    def sum_of_vectors(self):
        start = self.edge
        self.dense(9)
        self.threshold()
        self.add(Dense, self.edge, self.weights(self.types[start].size, self.type.size))
        if self.tasks > 1:
            self.bank_affine()
        self.add(Add, self.edge, start)

    def vector(self):
        small = self.type.size <= 40
        kind = self.rng.choice(["dense", "lookup", "sum"], p=[0.6, 0.2, 0.2] if small else [1, 0, 0])
        if kind == "lookup":
            self.lookup()
        elif kind == "sum":
            self.sum_of_vectors()
        else:
            self.dense(9)
            if self.tasks > 1 and self.chance(0.7):
                return self.bank_threshold()
        if self.chance(0.7) or self.type.bits > 10:
            self.threshold()

    def head(self):
        self.add(Flatten, self.edge)
        for _ in range(int(self.rng.integers(0, 4))):
            self.vector()
        if self.chance(0.4) and self.type.size <= 40:
            self.lookup()
        else:
            self.dense(17)
        if self.tasks > 1:
            self.bank_affine()
        return Network([*self.operations, ArgMax("class", self.edge)], "class" if self.chance(0.8) else ("class", self.edge))


def wide_network(seed):
    """A network of what :class:`WideTopology` has: often a padded convolution, none to three blocks, vectors."""
    topology = WideTopology(seed)
    if topology.chance(0.5):
        topology.convolution(same=True)
        topology.threshold(1)
    for _ in range(int(topology.rng.integers(0, 4))):
        topology.block()
    return topology.head()


def random_network(seed, largest=7):
    """A network of random topology, with one to three blocks in front of its dense head."""
    topology = Topology(seed, largest)
    for _ in range(int(topology.rng.integers(1, 4))):
        topology.block()
    return topology.head()


def inputs(network, count, seed=0):
    """Random values of the network's input, all lowest and all greatest among them."""
    type = network.types[network.inputs[0]]
    codes = np.random.default_rng(seed).integers(0, type.levels, (count, *type.shape))
    codes[:1], codes[1:2] = 0, type.levels - 1
    return type.lo + type.step * codes


def features(network):
    """What a network has of that which is hard: a set of names."""
    found = set()
    for name, op in network.operations.items():
        if len(network.consumers(name)) > 1:
            found.add("branch")
        if any(getattr(op, "padding", ())):
            found.add("padding")
            if op.fill == 0 and network.types[op.inputs[0]].is_bipolar:
                found.add("zero padding of signs")
        if max(getattr(op, "stride", (1,))) > 1:
            found.add("stride")
        if op.kind.endswith("Pool2d"):
            found.add("pool")
        if op.kind == "DepthwiseConv2d":
            found.add("depthwise")
        if op.kind == "Threshold":
            found |= {"k-bit threshold"} if op.levels.shape[1] > 1 else set()
            found |= {"falling channel"} if op.falling.any() else set()
        if hasattr(op, "weights") and not op.weights.all():
            found.add("ternary")
    return found


def coverage(networks):
    """Counter of the features of many networks."""
    return collections.Counter(feature for network in networks for feature in features(network))
