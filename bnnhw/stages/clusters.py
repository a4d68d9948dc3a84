"""Which inputs of layers of tables belong together: those that reach a common neuron."""

__all__ = ["clustered"]


def clustered(layers):
    """The inputs that ``layers`` use, in clusters.

    Two inputs are of one cluster if some neuron, of any layer, looks at both or at what both reach; a network in parts has a
    cluster for each part. Clusters come in the order of their first inputs, and so do inputs in a cluster.

    Parameters
    ----------
    layers : list of (indices, tables)
        As :func:`bnnhw.baked.tables.tables` takes them.

    Returns
    -------
    list of list of int
    """
    leader = {i: i for i in sorted({int(i) for row in layers[0][0] for i in row})}

    def find(i):
        while leader[i] != i:
            leader[i] = i = leader[leader[i]]
        return i

    reached = {i: i for i in leader}        # element of a layer's input -> an input that reaches it
    for indices, _ in layers:
        for row in indices:
            roots = sorted({find(reached[int(i)]) for i in row})
            for root in roots[1:]:
                leader[root] = roots[0]
        reached = {k: reached[int(row[0])] for k, row in enumerate(indices)}
    found = {}
    for i in leader:
        found.setdefault(find(i), []).append(i)
    return [found[first] for first in sorted(found)]
