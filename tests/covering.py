"""Covering arrays: few combinations in which every pair, or triple, of options occurs. No test."""

import itertools
import random


def covering_array(options, strength, forbidden=(), seed=0, tries=30):
    """Return rows, one option of each group, in which every combination of `strength` options occurs that may.

    Greedily: each row starts from a combination that is still missing, and takes for each other group, in random order,
    the option that covers most of what is missing; of several such rows the best is kept. A combination that no row
    could be completed from is returned as impossible.

    Args:
        options: the options of each group.
        strength: 2 for pairs, 3 for triples.
        forbidden: pairs of items (group, option) of which no row may hold both.
        seed: of the random orders.
        tries: how many rows are made for one that is kept.

    Returns:
        The rows, and the impossible combinations, as sets of items.
    """
    chance, names = random.Random(seed), sorted(options)
    against = {}
    for one, other in forbidden:
        against.setdefault(one, set()).add(other)
        against.setdefault(other, set()).add(one)

    def fits(item, row):
        return not any(other in against.get(item, ()) for other in row.items())

    of_item, missing, impossible = {}, set(), []
    for groups in itertools.combinations(names, strength):
        for values in itertools.product(*(options[group] for group in groups)):
            combination = frozenset(zip(groups, values, strict=True))
            if all(fits(item, dict(combination)) for item in combination):
                missing.add(combination)
                for item in combination:
                    of_item.setdefault(item, set()).add(combination)

    def completed(start):
        row = dict(start)
        others = [name for name in names if name not in row]
        chance.shuffle(others)
        while others:
            left = {name: [option for option in options[name] if fits((name, option), row)] for name in others}
            # The one with no choice or one comes first, so that no later one is left without.
            name = min(others, key=lambda name: (len(left[name]) > 1, others.index(name)))
            others.remove(name)
            choices = left[name]
            if not choices:
                return None
            chance.shuffle(choices)
            gains = {}
            for option in choices:
                items = {*row.items(), (name, option)}
                gains[option] = sum(c <= items for c in of_item[(name, option)])
            row[name] = max(choices, key=gains.__getitem__)
        return row

    rows = []
    order = sorted(missing, key=sorted)
    for start in order:
        if start not in missing:
            continue
        best, gained = None, set()
        for _ in range(tries):
            row = completed(start)
            covered = {c for c in missing if c <= set(row.items())} if row else set()
            if len(covered) > len(gained):
                best, gained = row, covered
        if best is None:
            impossible.append(start)
            gained = {start}
        else:
            rows.append(best)
        missing -= gained
        for combination in gained:
            for item in combination:
                of_item[item].discard(combination)
    return rows, impossible
