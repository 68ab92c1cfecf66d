"""Makes a table of what count.sh counted, and compares it with the committed one or writes that anew.

usage: count.py COMPILER COUNTED PROGRAM [--update]
"""

import csv
import re
import subprocess
import sys
from pathlib import Path

RECORD = Path("benches/record/arm")
TOLERANCE = 0.05
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


def neon_loops(program):
    """(function, instructions) of each innermost loop in functions with NEON in their names that reads or writes memory."""
    shown = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", "--demangle=rust", program],
        capture_output=True, text=True, check=True,
    ).stdout
    for head, body in re.findall(r"^[0-9a-f]+ <(.+)>:\n((?:.+\n)+)", shown, re.M):
        if "milkglass" not in head or "neon" not in head.lower():
            continue
        lines = [(int(at, 16), text) for at, text in re.findall(r"^\s*([0-9a-f]+):\t(.+)$", body, re.M)]
        index = {at: i for i, (at, _) in enumerate(lines)}
        back = []
        for i, (_, text) in enumerate(lines):
            jump = re.match(r"(?:b\.\w+|b|cbn?z|tbn?z)\t(?:.*, )?([0-9a-f]+)\b(?: <|$)", text)
            to = index.get(int(jump[1], 16)) if jump else None
            if to is not None and to <= i:
                back.append((to, i))
        for start, end in back:
            inner = any((a, b) != (start, end) and start <= a and b <= end for a, b in back)
            loop = [text for _, text in lines[start : end + 1]]
            # Around a call, or with the loop proper elsewhere, it is no loop over pixels.
            elsewhere = any(re.match(r"bl?r?\t", text) for text in loop[:-1])
            if not (inner or elsewhere) and any(re.search(r"\b[vq]\d+", text) for text in loop):
                yield re.sub(r"::h[0-9a-f]{16}$", "", head), loop


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


def estimates(program):
    yield "| loop in | instructions | of them NEON | on the stack | " + " | ".join(PROCESSORS) + " |"
    yield "|---|---|---|---|" + "---|" * len(PROCESSORS)
    for head, loop in neon_loops(program):
        wide = sum(bool(re.search(r"\b[vqd]\d+", text)) for text in loop)
        stack = sum("[sp" in text for text in loop)
        estimated = " | ".join(cycles(loop, processor) for processor in PROCESSORS)
        yield f"| `{head}` | {len(loop)} | {wide} | {stack} | {estimated} |"


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

## Estimated cycles of a round of each NEON loop
By llvm-mca 16 from the code of the same program: its models of the processors, all data in the first cache, no jump
mispredicted. Loops that have NEON in their function's name; one that was inlined elsewhere is not in it. `sum` has one for
each number of channels and of registers side by side, and one around it for blocks of more than 128 rows. "On the stack":
instructions that spill to it or read from it; it should be none.

{estimates}
"""


def main():
    compiler, path, program, *rest = sys.argv[1:]
    found = counted(Path(path))
    if not found:
        sys.exit("count.sh: engine/bench has no cases")
    table = RECORD / f"{compiler}.csv"
    shown = "\n".join(ratios(found))
    print(shown)
    if rest == ["--update"]:
        RECORD.mkdir(parents=True, exist_ok=True)
        write_table(table, found)
        page = PAGE.format(compiler=compiler, ratios=shown, estimates="\n".join(estimates(program)))
        (RECORD / "README.md").write_text(page)
        print(f"count.sh: wrote {table} and {RECORD}/README.md")
    elif rest:
        sys.exit(__doc__)
    elif not table.exists():
        # Other compilers make other code: their counts say nothing about ours.
        print(f"count.sh: there is no table for {compiler}, so nothing was compared; --update writes one")
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
