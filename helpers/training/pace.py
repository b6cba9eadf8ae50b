"""Whether training slows down because another program uses the cores: said once, in a line."""

import statistics

WARM_UP, WINDOW, LIMIT = 2, 8, 3.0


class Pace:
    """Compares the last `WINDOW` steps with the first ones after the `WARM_UP`, by medians: one slow step is nothing.
    Threads of a step wait for each other, so that one busy neighbour can cost far more than its share of the cores."""

    def __init__(self):
        self.steps: list[tuple[float, int]] = []  # seconds, padded tokens
        self.said = False

    def note(self, seconds: float, tokens: int) -> str | None:
        """Note a step of `tokens` padded tokens; return the line to print when the last ones are `LIMIT` times as slow.

        They must be so both by the step and by the token: short texts take longer by the token, long ones by the step,
        and neither is a reason to complain.
        """
        self.steps.append((seconds, tokens))
        if self.said or len(self.steps) < WARM_UP + 2 * WINDOW:
            return None
        first, last = self.steps[WARM_UP : WARM_UP + WINDOW], self.steps[-WINDOW:]
        by_step = _median(s for s, _ in last) / _median(s for s, _ in first)
        by_token = _median(s / n for s, n in last) / _median(s / n for s, n in first)
        slower = min(by_step, by_token)
        self.said = slower >= LIMIT
        return _describe(slower) if self.said else None


def _median(values) -> float:
    return max(statistics.median(values), 1e-9)  # a clock may stand still


def _describe(slower: float) -> str:
    return (
        f"Another program is using the cores: steps take {slower:.1f} times as long as the first ones did. "
        f"Close it, or expect about {slower:.0f} times longer."
    )
