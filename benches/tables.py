"""Markdown tables and bars, for the benchmarks."""


def table(head, rows):
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in lines)


def shares(figure, sizes):
    """Leak of several sizes together."""
    parts = [figure['sizes'][s] for s in sizes if s in figure['sizes']]
    return sum(n * leak for n, leak, _ in parts) / max(sum(n for n, _, _ in parts), 1)


def pick(found, what):
    """The peer's figures beside ours: as shipped, and with rectangles. None when the peer was not run."""
    pairs = [found.get('deface'), found.get('deface --boxes')]
    if None in pairs:
        return None
    return [what(f) if callable(what) else f[what] for f in pairs]


def number(value):
    if value is None:
        return ''
    return str(value) if isinstance(value, int) else f'{value:.3f}'


class Bars:
    """Figures that must not be above a bar."""

    def __init__(self):
        self.rows = []

    def most(self, what, value, bar, peer=None):
        self.rows.append({'what': what, 'value': value, 'bar': bar, 'peer': peer, 'pass': value <= bar})

    def note(self, what, value):
        """A figure without a bar."""
        self.rows.append({'what': what, 'value': value, 'bar': None, 'peer': None, 'pass': True})

    def missed(self):
        """The exit code: 1 when a bar is missed."""
        return int(any(not row['pass'] for row in self.rows))

    def print(self):
        rows = []
        for row in self.rows:
            peer = [number(v) for v in row['peer'] or (None, None)]
            bar = '' if row['bar'] is None else '<= ' + number(row['bar'])
            verdict = '' if row['bar'] is None else 'pass' if row['pass'] else '**miss**'
            rows.append([row['what'], *peer, number(row['value']), bar, verdict])
        print(table(['what', 'deface', 'deface --boxes', 'ours', 'bar', 'verdict'], rows))
