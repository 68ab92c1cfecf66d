"""Makes a table of what count.sh counted, and compares it with the committed one or writes that anew.

usage: count.py COMPILER COUNTED PROGRAM BLOCKS [--update]
"""

import csv
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

RECORD = Path("benches/record/arm")
TOLERANCE = 0.05
# A loop is in the page from this share of its function's executed instructions on.
HOT = 0.1
# Scalar instructions for one of NEON's, at least, by the group of a case.
BARS = {"letterbox": 2.0, "pixelate": 2.0, "blur": 1.0, "fill": 1.0, "polygon": 1.0}
# In-order and out-of-order processors of cameras.
PROCESSORS = ["cortex-a53", "cortex-a55", "cortex-a72"]


def counted(path):
    """{(case, set): (instructions of one run, pixels)}, from three lines a case: before one run, before two, after."""
    lines = [line.split() for line in path.read_text().splitlines()]
    found = {}
    for one, two, after in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        assert one[:3] == two[:3] == after[:3] and len(one) == 4, (one, two, after)
        case, loops, pixels = one[:3]
        start, middle, end = (int(line[3]) for line in (one, two, after))
        found[case, loops] = ((end - middle) - (middle - start), int(pixels))
    return found


def read_table(path):
    with path.open() as file:
        return {(row["case"], row["set"]): int(row["instructions"]) for row in csv.DictReader(file)}


def write_table(path, found):
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["case", "set", "instructions", "pixels"])
        rows.writerows([*key, *value] for key, value in sorted(found.items()))


def compare(found, table):
    """What is wrong, a line each."""
    wrong = []
    for key, (now, _) in sorted(found.items()):
        before = table.get(key)
        name = " with ".join(key)
        if before is None:
            wrong.append(f"{name}: is not in the table")
        elif now > before * (1 + TOLERANCE):
            wrong.append(f"{name}: {now:,} instructions, {now / before - 1:+.1%} from {before:,}")
    return wrong + [f"{' with '.join(key)}: in the table, but no case any more" for key in sorted(table.keys() - found.keys())]


def ratios(found):
    """The rows of a Markdown table: plain loops against NEON, with the bar of each."""
    yield "| case | scalar | NEON | NEON, a pixel | scalar / NEON | bar |"
    yield "|---|---|---|---|---|---|"
    for case in sorted({case for case, _ in found}):
        scalar, neon = found.get((case, "scalar")), found.get((case, "neon"))
        if scalar is None or neon is None:
            continue
        ratio = scalar[0] / neon[0]
        bar = BARS.get(case.split("/")[0])
        verdict = "" if bar is None else f"{bar:g}" + ("" if ratio >= bar else " **missed**")
        yield f"| {case} | {scalar[0]:,} | {neon[0]:,} | {neon[0] / neon[1]:.2f} | {ratio:.2f} | {verdict} |"


def neon_functions(program):
    """(name, {address: instruction}) of each function with NEON in its name, and where the program's code begins."""
    shown = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-p", "-d", "--no-show-raw-insn", "--demangle=rust", program],
        capture_output=True, text=True, check=True,
    ).stdout
    code = re.search(r"LOAD .* vaddr 0x([0-9a-f]+) .*\n.* flags r-x", shown)
    functions = []
    for head, body in re.findall(r"^[0-9a-f]+ <(.+)>:\n((?:.+\n)+)", shown, re.M):
        if "milkglass" in head and "neon" in head.lower():
            lines = re.findall(r"^\s*([0-9a-f]+):\t(.+)$", body, re.M)
            functions.append((head, {int(at, 16): text for at, text in lines}))
    return functions, int(code[1], 16)


def innermost_loops(lines):
    """Addresses of the instructions of each innermost loop that is in one piece and has NEON's registers."""
    back = []
    for at, text in lines.items():
        jump = re.match(r"(?:b\.\w+|b|cbn?z|tbn?z)\t(?:[^<]*, )?([0-9a-f]+)\b(?: <|$)", text)
        if jump and int(jump[1], 16) in lines and int(jump[1], 16) <= at:
            back.append((int(jump[1], 16), at))
    for start, end in back:
        inner = any((a, b) != (start, end) and start <= a and b <= end for a, b in back)
        loop = [at for at in lines if start <= at <= end]
        # Around a call, or with the loop proper elsewhere, it is no loop over pixels.
        elsewhere = any(re.match(r"bl?r?\t", lines[at]) for at in loop[:-1])
        if not (inner or elsewhere) and any(re.search(r"\b[vq]\d+", lines[at]) for at in loop):
            yield loop


def hot_loops(program, blocks):
    """(function, share of its executed instructions, loop, how many use the stack) of each loop that is much of a function."""
    functions, code = neon_functions(program)
    executed = Counter()
    for line in blocks.read_text().splitlines():
        start, instructions, entered = map(int, line.split())
        for i in range(instructions):
            executed[code + start + 4 * i] += entered
    for head, lines in functions:
        total = sum(executed[at] for at in lines)
        framed = any(re.match(r"(mov|add)\tx29, sp", text) for text in lines.values())
        for loop in innermost_loops(lines):
            share = sum(executed[at] for at in loop) / max(total, 1)
            if share >= HOT:
                texts = [lines[at] for at in loop]
                yield head, share, texts, sum("[sp" in text or (framed and "[x29" in text) for text in texts)


def cycles(loop, processor):
    """llvm-mca's estimate for one round of the loop, with everything in the first cache."""
    source = []
    for text in loop:
        text = re.sub(r"\s*//.*", "", text)
        # Where a jump goes does not matter to it; that it is one does.
        source.append(re.sub(r"[0-9a-f]+ <.*>$", "0", text))
    asked = ["llvm-mca-16", "-mtriple=aarch64", f"-mcpu={processor}", "-mattr=+neon", "-iterations=100"]
    said = subprocess.run(asked, input="\n".join(source), capture_output=True, text=True)
    total = re.search(r"Total Cycles:\s+(\d+)", said.stdout)
    return f"{int(total[1]) / 100:.1f}" if total else "?"


def plain_name(head):
    """Of a function as objdump shows it, with the numbers that it was compiled for."""
    made_of = re.search(r"\b(Pair|Three)<.*?, (\d+), (\d+), (\d+), (\d+)(?:, (true|false))?>", head)
    if made_of:
        kind, rgb = made_of[1], made_of[6] == "true"
        first, second = f"{made_of[2]} × {made_of[3]}", f"{made_of[4]} × {made_of[5]}"
        first, second = (size.replace("0 × 0", "any") for size in (first, second))
        if rgb:
            return f"letterbox, RGB {first}" + ("" if first == second else f", {second}")
        return f"letterbox, Y {first}, Cb and Cr {'together' if kind == 'Pair' else 'apart'} {second}"
    kernel = re.search(r"neon::(\w+)(?:::<(\d+)>)?$", head)
    if not kernel:
        return head
    return kernel[1] + (f", {kernel[2]} channel{'s' if kernel[2] != '1' else ''}" if kernel[2] else "")


def estimates(program, blocks):
    yield "| loop | share | instructions | NEON | stack | " + " | ".join(PROCESSORS) + " |"
    yield "|---|---|---|---|---|" + "---|" * len(PROCESSORS)
    loops = [(plain_name(head), *rest) for head, *rest in hot_loops(program, blocks)]
    for name, share, loop, stack in sorted(loops, key=lambda found: (found[0], -found[1])):
        wide = sum(bool(re.search(r"\b[vqd]\d+", text)) for text in loop)
        estimated = " | ".join(cycles(loop, processor) for processor in PROCESSORS)
        yield f"| {name} | {share:.0%} | {len(loop)} | {wide} | {stack} | {estimated} |"


PAGE = """# 64-bit ARM, counted and estimated

No ARM processor has run any of this: `tests/arm/count.sh --update` writes this page, with {compiler}. **Nothing here is a
time**; which loop is the cheaper one, and by how much, is what it tells.

## Executed instructions
One run of each case of `milkglass bench` (engine/bench), built with `--profile dist`, counted by a QEMU plug-in
(tests/arm/count.c): what two runs take, less what one takes. Scalar is plain Rust as the compiler
makes it for the same processor, with NEON wherever it sees how; it is written to be obvious, so the ratio says as much
about it as about the other loops. Counts repeat to the digit. The CSV beside this page is what CI compares with (5 % more is a failure).

{ratios}

The bars: letterbox and pixelate half the instructions of the plain loops, blur fewer, fill and polygons not more. Held
cells are only written, which both do with the C library's copies.

## Estimated cycles of a round of the NEON loops that run most
By llvm-mca 16 from the code of the same program: its models of the processors, all data in the first cache, no jump
mispredicted. A row is an innermost loop that uses NEON in a function that has NEON in its name, if at least {hot:.0%} of the
instructions that the function executed were in it, over all cases and their checks; a loop that was inlined into another
function is not here.

| loop | cases | one round |
|---|---|---|
| `sum`, so many channels | pixelate, blur | one row, of up to 64 samples of each channel |
| `cell_sums` | motion | up to eight rows, of as many cells of eight samples as four registers hold |
| `evens`, `odd_means` | convert | 32 samples |
| `letterbox` | letterbox | eight pixels of the tensor; with a loop left over their pieces, one piece of Y or of chroma |

`letterbox, Y 3 × 1` makes a row of the tensor from three rows of luma, with one piece (two loads of 16 bytes) of each for
eight pixels; Cb and Cr lie together, as in NV12, or apart, as in I420. One name twice: the same source for other numbers of
registers (`sum`), for loads that are evenly spaced and those that are not, or for luma and chroma (`letterbox`).

The columns: share of its function's executed instructions; instructions of a round as they stand in the code, as if no
jump out of it were taken; of them those with NEON's registers; of them those that write to the stack or read from it, best
none; and the cycles that a round takes on each processor.

{estimates}
"""


def main():
    compiler, path, program, blocks, *rest = sys.argv[1:]
    found = counted(Path(path))
    if not found:
        sys.exit("count.sh: engine/bench has no cases")
    table = RECORD / f"{compiler}.csv"
    shown = "\n".join(ratios(found))
    print(shown)
    if rest == ["--update"]:
        RECORD.mkdir(parents=True, exist_ok=True)
        write_table(table, found)
        page = PAGE.format(compiler=compiler, ratios=shown, hot=HOT, estimates="\n".join(estimates(program, Path(blocks))))
        (RECORD / "README.md").write_text(page)
        print(f"count.sh: wrote {table} and {RECORD}/README.md")
    elif rest:
        sys.exit(__doc__)
    elif not table.exists():
        # Other compilers make other code: their counts say nothing about ours.
        known = ", ".join(sorted(path.stem for path in RECORD.glob("*.csv")))
        print(
            f"count.sh: NOTHING WAS COMPARED: there is no {table}. Take a compiler that has one ({known}), or run "
            "tests/arm/count.sh --update on a commit whose counts you trust",
            file=sys.stderr,
        )
    else:
        wrong = compare(found, read_table(table))
        if wrong:
            print("\n".join(wrong), file=sys.stderr)
            sys.exit(
                "count.sh: the table no longer holds. If that is on purpose, run tests/arm/count.sh --update, look at\n"
                f"the difference of {table}, and say in the commit why it is worth it"
            )
        print(f"count.sh: {len(found)} counts are within {TOLERANCE:.0%} of {table}")


main()
