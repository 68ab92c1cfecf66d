//! Every set against the scalar one, to the bit: all widths, misaligned starts, guard bytes around what is written,
//! whatever content.

use super::{Block, CELL, InstructionSet, Kernels, WHOLE};

const WIDTHS: std::ops::RangeInclusive<usize> = 0..=131;
const STARTS: std::ops::RangeInclusive<usize> = 0..=16;
/// What lies around the bytes that a kernel may write.
const GUARD: u8 = 0xa5;
const MARGIN: usize = 64;

/// Every set but the scalar one.
fn others() -> impl Iterator<Item = (InstructionSet, &'static Kernels)> {
    let sets = InstructionSet::available().into_iter().filter(|set| *set != InstructionSet::Scalar);
    sets.map(|set| (set, Kernels::of(set)))
}

fn scalar() -> &'static Kernels {
    Kernels::of(InstructionSet::Scalar)
}

/// The worst cases, and anything.
fn contents(len: usize) -> [Vec<u8>; 5] {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ len as u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    [
        vec![0; len],
        vec![255; len],
        (0..len).map(|i| if i % 2 == 0 { 0 } else { 255 }).collect(),
        (0..len).map(|i| if i % 2 == 0 { 255 } else { 0 }).collect(),
        (0..len).map(|_| random()).collect(),
    ]
}

/// What `write` makes of `len` guarded bytes from `start` on, the guards included.
fn written(start: usize, len: usize, write: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = vec![GUARD; start + len + MARGIN];
    write(&mut bytes[start..start + len]);
    let outside = bytes[..start].iter().chain(&bytes[start + len..]);
    assert!(outside.copied().all(|v| v == GUARD), "{len} bytes from {start}: written outside");
    bytes
}

#[test]
fn there_is_something_to_compare() {
    let names: Vec<_> = others().map(|(set, _)| set.name()).collect();
    if cfg!(target_arch = "aarch64") {
        assert_eq!(names, ["neon"]);
    }
    #[cfg(target_arch = "x86_64")]
    assert_eq!(names.contains(&"avx2"), std::arch::is_x86_feature_detected!("avx2"));
}

#[test]
fn sums_are_the_same() {
    for (set, k) in others() {
        for n in 1..=4 {
            for width in WIDTHS {
                for (rows, gap) in [(1, 0), (2, 0), (3, 1), (5, 17), (4, 64)] {
                    let stride = width * n + gap;
                    for (c, bytes) in contents(16 + rows * stride).iter().enumerate() {
                        for start in STARTS {
                            let end = start + ((rows - 1) * stride + width * n).min(bytes.len() - start);
                            if end - start < (rows - 1) * stride + width * n {
                                continue;
                            }
                            // With what comes after the last row, and without.
                            for piece in [&bytes[start..end], &bytes[start..]] {
                                let block = Block::new(piece, stride, width * n, rows);
                                let (mut got, mut expected) = ([7; 4], [7; 4]);
                                k.sum[n - 1](block, &mut got[..n]);
                                scalar().sum[n - 1](block, &mut expected[..n]);
                                assert_eq!(
                                    got, expected,
                                    "{set:?}: {rows} rows of {width} x {n}, content {c}, start {start}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn sums_of_large_blocks_do_not_overflow() {
    let bytes = vec![255; 2000 * 2048];
    for (set, k) in others() {
        for n in [1, 2, 3, 4] {
            let mut totals = [0; 4];
            k.sum[n - 1](Block::new(&bytes, 2048, 2040 / n * n, 2000), &mut totals[..n]);
            assert_eq!(totals[..n], vec![255 * 2000 * (2040 / n) as u64; n], "{set:?}, {n} channels");
        }
    }
}

#[test]
fn fills_are_the_same() {
    let values = [[0; 4], [255; 4], [0, 255, 0, 255], [255, 0, 255, 0], [1, 2, 3, 4], [200, 100, 50, 25]];
    for (set, k) in others() {
        for n in 1..=4 {
            for value in values {
                for width in WIDTHS {
                    for start in STARTS {
                        let got = written(start, width * n, |row| (k.fill)(row, &value[..n]));
                        let expected = written(start, width * n, |row| (scalar().fill)(row, &value[..n]));
                        assert_eq!(got, expected, "{set:?}: {width} of {:?} from {start}", &value[..n]);
                    }
                }
            }
        }
    }
}

#[test]
fn blends_are_the_same() {
    for (set, k) in others() {
        for width in WIDTHS {
            let rows = contents(width + 16);
            for upper in &rows {
                for lower in &rows {
                    for t in [0, 1, 63, 64, 65, 127, WHOLE] {
                        // Starts of the three rows that have nothing to do with each other.
                        for start in STARTS {
                            let (a, b) = (&upper[16 - start..][..width], &lower[start / 2..][..width]);
                            let got = written(start, width, |to| (k.blend)(to, a, b, t));
                            let expected = written(start, width, |to| (scalar().blend)(to, a, b, t));
                            assert_eq!(got, expected, "{set:?}: {width} from {start}, {t}");
                        }
                    }
                }
            }
        }
    }
}

/// Every pair of bytes with every weight, and never beyond the two.
#[test]
fn blends_of_any_two_values_are_the_same() {
    let lower: Vec<u8> = (0..=255).collect();
    for upper in 0..=255 {
        let above = [upper; 256];
        for t in 0..=WHOLE {
            let mut expected = [0; 256];
            (scalar().blend)(&mut expected, &above, &lower, t);
            for (&v, &b) in expected.iter().zip(&lower) {
                assert!(v >= upper.min(b) && v <= upper.max(b), "{upper} and {b}, {t}: {v}");
            }
            for (set, k) in others() {
                let mut got = [0; 256];
                (k.blend)(&mut got, &above, &lower, t);
                assert_eq!(got, expected, "{set:?}: {upper}, {t}");
            }
        }
    }
}

#[test]
fn cell_sums_are_the_same() {
    for (set, k) in others() {
        for n in 1..=4 {
            for width in WIDTHS {
                let cells = width.div_ceil(CELL) * n;
                for (rows, gap) in [(0, 0), (1, 0), (2, 1), (7, 24), (CELL, 0), (CELL, 17)] {
                    let (stride, used) =
                        (width * n + gap, rows.saturating_sub(1) * (width * n + gap) + width * n);
                    for (c, bytes) in contents(16 + rows * stride).iter().enumerate() {
                        for start in STARTS {
                            // With what comes after the last row, and without.
                            for piece in [bytes.get(start..start + used), Some(&bytes[start..])] {
                                let Some(piece) = piece.filter(|piece| piece.len() >= used) else { continue };
                                let block = Block::new(piece, stride, width * n, rows);
                                // Sums between guards, which are numbers here.
                                let [got, expected] = [k, scalar()].map(|k| {
                                    let mut sums = vec![0xa5a5; cells + 16];
                                    k.cell_sums[n - 1](block, &mut sums[8..8 + cells]);
                                    let guards = sums[..8].iter().chain(&sums[8 + cells..]);
                                    assert!(guards.copied().all(|v| v == 0xa5a5), "{set:?}: written outside");
                                    sums
                                });
                                assert!(
                                    got == expected,
                                    "{set:?}: {rows} rows of {width} x {n}, content {c}, start {start}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn parted_pairs_are_the_same() {
    for (set, k) in others() {
        for width in WIDTHS {
            let rows = contents(2 * width + 32);
            for from in &rows {
                for start in STARTS {
                    let pairs = &from[start..][..2 * width];
                    let what = format!("{set:?}: {width} from {start}");
                    let got = written(start, width, |to| (k.evens)(pairs, to));
                    assert_eq!(got, written(start, width, |to| (scalar().evens)(pairs, to)), "{what}");
                    for other in &rows {
                        let below = &other[16 - start..][..2 * width];
                        let got = written(start, width, |to| (k.odd_means)(pairs, below, to));
                        let expected = written(start, width, |to| (scalar().odd_means)(pairs, below, to));
                        assert_eq!(got, expected, "{what}");
                    }
                    let part = |k: &Kernels| {
                        let mut second = Vec::new();
                        let first = written(start, width, |first| {
                            second = written(16 - start, width, |second| (k.split)(pairs, first, second));
                        });
                        (first, second)
                    };
                    assert_eq!(part(k), part(scalar()), "{what}");
                }
            }
        }
    }
}

/// The oracle itself, where its result is easily said.
#[test]
fn the_scalar_set_does_what_it_says() {
    let bytes: Vec<u8> = (1..=24).collect();
    let mut totals = [9; 3];
    scalar().sum[2](Block::new(&bytes[1..], 10, 6, 2), &mut totals);
    assert_eq!(totals, [2 + 5 + 12 + 15, 3 + 6 + 13 + 16, 4 + 7 + 14 + 17]);
    let mut sums = [9; 5];
    scalar().cell_sums[0](Block::new(&bytes, 1, 1, 8), &mut sums[..1]);
    scalar().cell_sums[1](Block::new(&bytes, 20, 18, 1), &mut sums[1..]);
    assert_eq!(sums, [36, 64, 72, 17, 18]);
    let mut mixed = [0; 3];
    (scalar().blend)(&mut mixed, &[0, 255, 10], &[255, 0, 20], 32);
    assert_eq!(mixed, [64, 191, 13]);
    let (mut first, mut second) = ([0; 2], [0; 2]);
    (scalar().split)(&bytes[..4], &mut first, &mut second);
    assert_eq!((first, second), ([1, 3], [2, 4]));
    (scalar().odd_means)(&[0, 1, 0, 255], &[9, 2, 9, 254], &mut first);
    assert_eq!(first, [1, 254]);
    (scalar().evens)(&bytes[..4], &mut second);
    assert_eq!(second, [1, 3]);
}
