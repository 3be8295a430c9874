"""Differential fuzzing without end: `make hunt`, or `python -m tests.datapath.hunt --seconds 600`.

Mutants of every row go through the programs and their oracles; what they see differently is printed as a row to add.
Progress is on stderr. Exit status 1: they differed. Nothing is sent anywhere; needs root to load programs.
"""

import argparse
import json
import secrets
import sys
import time
from typing import Any

from edge.datapath.abi import Note, Reason
from tests.datapath import fuzzing
from tests.datapath.differ import Divergence, Reached
from tests.datapath.mutate import mutants

CHUNK = 20_000  # mutants between two looks at the clock
_MOST_OF_A_CHUNK = 20


class Hunt:
    """What was reached so far, and the divergences that are not alike."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.reached = Reached()
        self.found: dict[object, tuple[str, Divergence]] = {}
        self._begin = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return time.monotonic() - self._begin

    def add(self, target: str, reached: Reached) -> None:
        """Take over what a chunk reached."""
        for one in reached.divergences:
            key = (target, one.wanted.verdict, one.wanted.reason, one.wanted.notes, one.verdict, *one.counted)
            if key not in self.found:
                self.found[key] = target, one
                print(f"{target}:\n{one}\n{one.row()}\n", file=sys.stderr)
        reached.divergences = []
        self.reached.merge(reached)

    def report(self) -> dict[str, Any]:
        """Everything as facts."""
        reached = self.reached
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "mutants": reached.frames,
            "mutants_per_second": round(reached.frames / max(self.seconds, 0.001)),
            "verdicts": dict(reached.verdicts),
            "reasons": {reason.label: reached.reasons[reason] for reason in Reason},
            "notes": {note.label: reached.notes[note] for note in Note},
            "unreached": unreached(reached),
            "divergences": [
                {"target": target, "frame": one.frame.hex(), "text": str(one), "row": one.row()}
                for target, one in self.found.values()
            ],
        }


def unreached(reached: Reached) -> list[str]:
    """Reasons and notes that a mutant can reach, and none did."""
    reasons = [reason.label for reason in Reason if reason not in reached.reasons | fuzzing.UNREACHABLE_REASONS]
    return reasons + [note.label for note in Note if note not in reached.notes | fuzzing.UNREACHABLE_NOTES]


def hunt(seed: int, seconds: float | None, count: int | None) -> Hunt:
    """Go round the targets until `seconds` have passed or `count` mutants were compared."""
    state, chunk = Hunt(seed), 0
    with fuzzing.loaded() as targets:
        while (seconds is None or state.seconds < seconds) and (count is None or state.reached.frames < count):
            for target, differ in targets:
                chunk += 1
                frames = mutants(
                    fuzzing.seeds(target.decap), _size(target, state, count), seed + chunk, fuzzing.LONGEST
                )
                state.add(target.name, differ.compare(frames, _MOST_OF_A_CHUNK))
            done = state.reached.frames
            print(f"{state.seconds:8.0f} s {done:12,} mutants, {len(state.found)} divergences", file=sys.stderr)
    return state


def _size(target: fuzzing.Target, state: Hunt, count: int | None) -> int:
    left = count - state.reached.frames if count is not None else CHUNK * len(fuzzing.TARGETS)
    most = CHUNK * len(fuzzing.TARGETS) * target.share // fuzzing.SHARES
    return max(1, min(most, left))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="hunt", description=__doc__)
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--seconds", type=float, help="how long; 60 if neither this nor --mutants is given")
    end.add_argument("--mutants", type=int, help="how many")
    parser.add_argument("--seed", type=int, help="the same mutants again; drawn if not given")
    parser.add_argument("--json", action="store_true", help="facts on stdout")
    given = parser.parse_args()
    seconds = 60.0 if given.seconds is None and given.mutants is None else given.seconds
    state = hunt(secrets.randbits(32) if given.seed is None else given.seed, seconds, given.mutants)
    facts = state.report()
    if given.json:
        print(json.dumps(facts, indent=1))
    else:
        for name, value in facts.items():
            print(f"{name:20} {value}" if name != "divergences" else f"{name:20} {len(value)}")
    return 1 if state.found else 0


if __name__ == "__main__":
    sys.exit(main())
