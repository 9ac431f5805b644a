"""What a process sends in a collective operation on a ring, as a multiple of the bytes of a tensor (Patarasuk and Yuan
2009, "Bandwidth optimal all-reduce algorithms"). The mean over the processes."""


def all_reduce(processes: int) -> float:
    """Of the whole tensor: a reduce-scatter and an all-gather."""
    return 2 * once(processes)


def once(processes: int) -> float:
    """Of the whole tensor, in a broadcast, a reduction, a reduce-scatter or an all-gather: all but one share."""
    return (processes - 1) / processes


def to_all_others(processes: int) -> float:
    """Of a share of the whole tensor, on its way to each of the other processes."""
    return processes - 1
