"""A small fleet, explored to the last state: no order of drains and false alarms takes a VIP from the network.

The nodes decide by `edge.policy.announce.decide` with what the routers' read-back tells them of each other. News of a
change travels at its own pace and in no order between nodes; all that is assumed is what `drain.settle` is there for:
news that was on its way when a node began to leave has arrived when its time to settle is over.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import permutations
from operator import itemgetter

import pytest

from edge.policy.announce import NodeFacts, Others, Stance, VipFacts, decide

IDLE, SETTLING, DUE = range(3)  # of an order to leave
NONE, NEWS, OLD_NEWS = range(3)  # on the way from one node to another; old: since before that one began to leave
STANCES = (Stance.ANNOUNCED, Stance.DEPREFERRED, Stance.WITHDRAWN)
STAY, LEAVE, GONE = range(3)
SINCE = {IDLE: None, SETTLING: 99.5, DUE: 0.0}
WELL = NodeFacts(True, True, None, 1.0)

# One VIP, flat for speed: per node drain, silence of its checker, whether its backends look down, and what it says;
# then per pair (of, to) what `to` believes of `of`, and whether news is on its way.
World = tuple[int, ...]


@cache
def says(drain: int, silence: int, ill: int, *believed: int) -> int:
    """The real decision at second 100, with a second to settle."""
    others = Others(believed.count(STAY), believed.count(LEAVE))
    vip = VipFacts(backends_up=not ill, silent_since=SINCE[silence], drain_since=SINCE[drain], others=others)
    return STANCES.index(decide(WELL, vip, 100.0).stance)


class Fleet:
    """So many nodes with one VIP. `lies`: checkers may fall silent and backends may look down, at any time."""

    def __init__(self, nodes: int, lies: bool) -> None:
        self.nodes, self.lies = range(nodes), lies
        pairs = [(of, to) for of in self.nodes for to in self.nodes if of != to]
        first = 4 * nodes
        self.belief = {pair: first + at for at, pair in enumerate(pairs)}
        self.news = {pair: first + len(pairs) + at for at, pair in enumerate(pairs)}
        self.heard_by = {to: [self.belief[of, to] for of in self.nodes if of != to] for to in self.nodes}
        self.to_node = {to: [self.news[of, to] for of in self.nodes if of != to] for to in self.nodes}
        self.of_node = {of: [self.news[of, to] for to in self.nodes if of != to] for of in self.nodes}
        self.start: World = (0,) * (first + 2 * len(pairs))
        self.renamings = [self._renaming(order, pairs) for order in permutations(self.nodes)]

    def _renaming(self, order: tuple[int, ...], pairs: list[tuple[int, int]]) -> Callable[[World], World]:
        """The same world with the nodes called otherwise."""
        places = [which * len(order) + node for which in range(4) for node in order]
        for at in (self.belief, self.news):
            places += [at[order[of], order[to]] for of, to in pairs]
        return itemgetter(*places)

    def one_of_its_kind(self, world: World) -> World:
        """The least of the worlds that differ in the names of nodes alone: what may follow is the same for all."""
        return min(renaming(world) for renaming in self.renamings)

    def said(self, world: World) -> World:
        """What each node tells its routers."""
        return world[3 * len(self.nodes) : 4 * len(self.nodes)]

    def settled(self, world: list[int]) -> World:
        """Every node has said what follows from what it believes; who changed its word sends news."""
        count = len(self.nodes)
        for node in self.nodes:
            own = world[node], world[count + node], world[2 * count + node]
            stance = says(*own, *[world[at] for at in self.heard_by[node]])
            if stance != world[3 * count + node]:
                world[3 * count + node] = stance
                for at in self.of_node[node]:
                    world[at] = world[at] or NEWS
        return tuple(world)

    def with_order(self, world: World, node: int, which: int, phase: int) -> World:
        """An order of a node begins, is due, or is taken back; `which`: 0 a drain, 1 a silence."""
        after = list(world)
        after[which * len(self.nodes) + node] = phase
        if phase == SETTLING:
            for at in self.to_node[node]:
                after[at] = OLD_NEWS if after[at] else NONE
        return self.settled(after)

    def by_itself(self, world: World) -> Iterator[World]:
        """What time alone brings: news arrives, an order is due."""
        for (of, to), at in self.news.items():
            if world[at]:
                after = list(world)
                after[at], after[self.belief[of, to]] = NONE, world[3 * len(self.nodes) + of]
                yield self.settled(after)
        for node in self.nodes:
            heard = all(world[at] != OLD_NEWS for at in self.to_node[node])
            for which in (0, 1):
                if world[which * len(self.nodes) + node] == SETTLING and heard:
                    yield self.with_order(world, node, which, DUE)

    def steps(self, world: World) -> Iterator[World]:
        """Everything that may happen next."""
        yield from self.by_itself(world)
        count = len(self.nodes)
        for node in self.nodes:
            for which in (0, 1) if self.lies else (0,):
                yield self.with_order(world, node, which, IDLE if world[which * count + node] else SETTLING)
            if self.lies:
                after = list(world)
                after[2 * count + node] = 1 - after[2 * count + node]
                yield self.settled(after)

    def explore(self, chosen: Callable[[World], World] = lambda world: world) -> set[World]:
        """Every world that can be reached, or the `chosen` ones; fails at one in which nobody announces the VIP."""
        seen, todo = {self.start}, [self.start]
        while todo:
            for world in map(chosen, self.steps(todo.pop())):
                if world not in seen:
                    assert self.said(world).count(GONE) < len(self.nodes), world
                    seen.add(world)
                    todo.append(world)
        return seen


def test_two_nodes_never_both_withdraw_whatever_their_checks_and_operators_say() -> None:
    fleet = Fleet(2, lies=True)
    assert max(fleet.said(world).count(GONE) for world in fleet.explore()) == 1, "one may leave; else nothing was shown"


def test_the_names_of_nodes_change_nothing() -> None:
    """One world of each kind stands for all: the others are those with the nodes called otherwise, no more, no less."""
    for fleet in (Fleet(2, lies=True), Fleet(2, lies=False)):
        all_worlds, kinds = fleet.explore(), fleet.explore(fleet.one_of_its_kind)
        assert {renaming(world) for world in kinds for renaming in fleet.renamings} == all_worlds
        assert len(kinds) < len(all_worlds)


@pytest.mark.slow
def test_three_nodes_never_all_withdraw_in_any_order_of_drains() -> None:
    fleet = Fleet(3, lies=False)
    worlds = fleet.explore(fleet.one_of_its_kind)
    assert max(fleet.said(world).count(GONE) for world in worlds) == 2, "two may leave; else nothing was shown"


def test_vips_are_decided_apart_so_a_world_of_two_is_a_pair_of_worlds() -> None:
    """`drain node` is a drain of each VIP, and no fact of one VIP is an input of the other's decision."""
    drained = VipFacts(drain_since=0.0, others=Others(0))
    for node in (WELL, NodeFacts(True, True, 0.0, 1.0)):
        alone = decide(node, drained, 100.0)
        assert STANCES.index(alone.stance) == LEAVE
        other = decide(node, VipFacts(others=Others(1)), 100.0)
        assert STANCES.index(other.stance) == (STAY if node is WELL else GONE)


@pytest.mark.parametrize("nodes", [1, 2, 3, 4])
def test_checkers_that_all_die_at_once_leave_every_node_announcing(nodes: int) -> None:
    fleet = Fleet(nodes, lies=True)
    world = fleet.start
    for node in fleet.nodes:
        world = fleet.with_order(world, node, 1, SETTLING)
    while following := [after for after in fleet.by_itself(world) if after != world]:
        world = following[0]
    assert set(fleet.said(world)) == {LEAVE}
