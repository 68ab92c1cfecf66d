#!/usr/bin/env python3
"""The measuring half of clip_speed.sh, which makes the clips; run that.

Wall time is from start to exit. CPU time is the kernel's sum for the program and every child it waited for. Peak memory
is VmHWM (the kernel's own high-water mark of resident memory, shared libraries included) of each process of the tree,
read every 20 ms: "the program" is the process that was started, children are told apart by their order of size.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time

from tables import Bars, table

PLAIN = ['ffmpeg', '-nostdin', '-v', 'error', '-y', '-i']
ENCODER = ['-an', '-c:v', 'libx264', '-preset', 'medium', '-crf', '23']


class Memory(threading.Thread):
    """High-water marks of a process and of everything below it."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peaks, self.done = pid, {}, threading.Event()

    def run(self):
        while not self.done.wait(0.02):
            for pid in [self.pid, *descendants(self.pid)]:
                try:
                    with open(f'/proc/{pid}/status') as f:
                        kib = next(int(line.split()[1]) for line in f if line.startswith('VmHWM'))
                except (OSError, StopIteration):
                    continue
                self.peaks[pid] = max(self.peaks.get(pid, 0), kib)

    def megabytes(self):
        """Of the program itself, and of its children, the largest first."""
        own = self.peaks.pop(self.pid, 0) * 1024 / 1e6
        return own, sorted((kib * 1024 / 1e6 for kib in self.peaks.values()), reverse=True)


def descendants(pid):
    found = []
    try:
        for task in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{task}/children') as f:
                for child in map(int, f.read().split()):
                    found += [child, *descendants(child)]
    except OSError:
        pass
    return found


def measure(command):
    """Runs it to its end."""
    began = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    memory = Memory(child.pid)
    memory.start()
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    memory.done.set()
    memory.join()
    if child.returncode != 0:
        sys.exit(f'{" ".join(command)}\nended with exit code {child.returncode}: {said.decode(errors="replace")[-2000:]}')
    own, children = memory.megabytes()
    return {'wall': wall, 'cpu': usage.ru_utime + usage.ru_stime, 'memory': own, 'children': children}


def load():
    with open('/proc/loadavg') as f:
        return [float(v) for v in f.read().split()[:3]]


def probe(clip):
    done = subprocess.run(['ffprobe', '-v', 'error', '-select_streams', 'v', '-count_packets', '-show_entries',
                           'stream=width,height,avg_frame_rate,bit_rate,nb_read_packets', '-of', 'json', clip],
                          stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)['streams'][0]


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def spread(values, form='.3f'):
    return f'{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})'


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work', required=True)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--peer-python')
    parser.add_argument('--json')
    args = parser.parse_args()
    program = os.environ['MILKGLASS']
    clip, short, out = (os.path.join(args.work, name) for name in ('clip.mp4', 'short.mp4', 'out.mp4'))
    picture = probe(clip)
    frames = int(picture['nb_read_packets'])

    def step(text):
        print(f'clip_speed: {text}', file=sys.stderr, flush=True)

    def redact(preset, source):
        return [program, '-q', 'redact', '--overwrite', '--preset', preset, '--encoder', 'libx264', '--encoder-preset',
                'medium', '--crf', '23', '-o', out, source]

    commands = {
        'ffmpeg': [*PLAIN, clip, *ENCODER, out],
        'balanced': redact('balanced', clip),
        'fast': redact('fast', clip),
    }
    step('warming up')
    subprocess.run([*PLAIN, short, *ENCODER, out], check=True)
    subprocess.run(redact('balanced', short), check=True)
    load_before = load()
    runs = {name: [] for name in commands}
    for n in range(args.rounds):
        # Another order each round, so that none of them always runs at the same place.
        names = list(commands)
        names = names[n % len(names):] + names[:n % len(names)]
        for name in names:
            runs[name].append(measure(commands[name]))
            step(f'round {n + 1} of {args.rounds}, {name}: {runs[name][-1]["wall"]:.1f} s')
    load_after = load()

    ratios = {name: {key: [run[key] / plain[key] for run, plain in zip(runs[name], runs['ffmpeg'])]
                     for key in ('wall', 'cpu')} for name in commands}
    memory = {name: max(run['memory'] for run in runs[name]) for name in commands}

    step('detection alone')
    detect = {}
    for what, more in (('fast', ['--preset', 'fast']), ('balanced', []), ('balanced, every frame', ['--detect-every', '1'])):
        seen = measure([program, '-q', 'detect', *more, '--json', os.path.join(args.work, 'boxes.jsonl'), clip])
        detect[what] = frames / seen['wall']

    peer = None
    if args.peer_python:
        step('the peer')
        deface = os.path.join(os.path.dirname(args.peer_python), 'deface')
        count = int(probe(short)['nb_read_packets'])
        # The yardstick twice, once on each side of the peer's only run.
        plain = [measure(['nice', *PLAIN, short, *ENCODER, out])]
        seen = measure(['nice', deface, '-o', out, short])
        plain.append(measure(['nice', *PLAIN, short, *ENCODER, out]))
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'peer_deface.py')
        done = subprocess.run(['nice', args.peer_python, script, 'speed', short, '15'], stdout=subprocess.PIPE, check=True)
        alone = json.loads(done.stdout.splitlines()[-1])['frames_per_second']
        peer = {'wall': seen['wall'] / statistics.mean(r['wall'] for r in plain),
                'cpu': seen['cpu'] / statistics.mean(r['cpu'] for r in plain),
                'memory': seen['memory'], 'children': seen['children'], 'frames': count,
                'frames_per_second': count / seen['wall'], 'detect': alone, 'runs': [seen, *plain]}

    bars = Bars()
    both = lambda v: None if peer is None else [v, None]
    bars.most('wall time of a 1080p clip, `balanced`, against plain ffmpeg', statistics.median(ratios['balanced']['wall']),
              1.2, both(peer and peer['wall']))
    bars.most('peak memory of the program itself, 1080p, `balanced`, MB', memory['balanced'], 350.0,
              both(peer and peer['memory']))
    if peer:
        bars.most("time of `detect` with `balanced`'s own settings, decoding included, against the peer's detection at its defaults",
                  peer['detect'] / detect['balanced'], 1 / 20, [1.0, None])
    bars.print()

    print(f'\nThe clip: {picture["width"]}x{picture["height"]}, {frames} frames at {picture["avg_frame_rate"]} per second, '
          f'{int(picture["bit_rate"]) / 1e6:.1f} Mbit/s. {args.rounds} rounds. Load average before '
          f'{" ".join(map(str, load_before))}, after {" ".join(map(str, load_after))}; cores: {os.cpu_count()}.\n')
    head = ['what', 'frames/s', 'wall, s', 'CPU, s', 'wall against ffmpeg', 'CPU against ffmpeg', 'peak memory, MB',
            'of its children, MB']
    rows = []
    for name in commands:
        children = [f'{v:.0f}' for v in runs[name][-1]['children']]
        rows.append([name if name == 'ffmpeg' else f'milkglass {name}', f'{frames / median(runs[name], "wall"):.1f}',
                     f'{median(runs[name], "wall"):.2f}', f'{median(runs[name], "cpu"):.2f}', spread(ratios[name]['wall']),
                     spread(ratios[name]['cpu']), f'{memory[name]:.0f}', ', '.join(children)])
    if peer:
        rows.append([f'deface, once, {peer["frames"]} frames', f'{peer["frames_per_second"]:.1f}',
                     f'{peer["runs"][0]["wall"]:.2f}', f'{peer["runs"][0]["cpu"]:.2f}', f'{peer["wall"]:.2f}',
                     f'{peer["cpu"]:.2f}', f'{peer["memory"]:.0f}', ', '.join(f'{v:.0f}' for v in peer['children'])])
    print(table(head, rows))
    print('\nDetection alone, frames per second (ours with decoding, the peer without):\n')
    rows = [[f'milkglass detect, {name}', f'{rate:.1f}'] for name, rate in detect.items()]
    print(table(['what', 'frames/s'], rows + ([['deface, every frame', f'{peer["detect"]:.1f}']] if peer else [])))
    if args.json:
        with open(args.json, 'w') as f:
            json.dump({'bars': bars.rows, 'clip': picture, 'runs': runs, 'ratios': ratios, 'detect': detect, 'peer': peer,
                       'load': [load_before, load_after]}, f, indent=1)
    sys.exit(bars.missed())


if __name__ == '__main__':
    main()
