use super::*;

/// A JPEG whose blocks of 8x8 samples are each of one value, so that decoding is exact.
struct Picture {
    size: (u32, u32),
    /// Luma blocks for one chroma block, across and down; (0, 0) for gray.
    sampling: (u32, u32),
    tables: bool,
    /// Units from one restart marker to the next; 0 for none.
    restart: usize,
    /// Values of block (column, row) of a component.
    value: fn(usize, u32, u32) -> u8,
}

const WAVES: Picture = Picture { size: (64, 48), sampling: (2, 2), tables: true, restart: 0, value: waves };

fn waves(component: usize, x: u32, y: u32) -> u8 {
    match component {
        0 => (16 + x * 23 + y * 31) as u8,
        // Steps of chroma would be smoothed by the decoder's interpolation.
        1 => 90,
        _ => 170,
    }
}

/// The bits of a scan.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    waiting: u32,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for i in (0..count).rev() {
            self.waiting = self.waiting << 1 | (value >> i & 1);
            self.count += 1;
            if self.count == 8 {
                self.bytes.push(self.waiting as u8);
                if self.waiting == 0xFF {
                    self.bytes.push(0);
                }
                (self.waiting, self.count) = (0, 0);
            }
        }
    }
}

/// The standard's tables, lumina and chroma: for each number of bits how many codes, then the symbols.
fn tables() -> Vec<(u8, [u8; 16], Vec<u8>)> {
    let dc = (0..12).collect::<Vec<u8>>();
    let mut found = vec![
        (0x00, [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], dc.clone()),
        (0x01, [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], dc),
    ];
    // Of the AC symbols only "end of block" is used: code 1010 of the lumina table, 00 of the chroma table.
    found.push((0x10, [0, 2, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], vec![1, 2, 3, 0, 4, 0x11]));
    found.push((0x11, [0, 2, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], vec![0, 1, 2, 3, 0x11]));
    found
}

/// The code of a DC category, in the table of its class.
fn dc_code(class: usize, category: u32) -> (u32, u32) {
    let counts = tables()[class].1;
    let (mut code, mut symbol) = (0, 0);
    for (bits, count) in (1..).zip(counts) {
        for _ in 0..count {
            if symbol == category {
                return (code, bits);
            }
            code += 1;
            symbol += 1;
        }
        code <<= 1;
    }
    unreachable!()
}

fn segment(out: &mut Vec<u8>, marker: u8, body: &[u8]) {
    out.extend([0xFF, marker]);
    out.extend((body.len() as u16 + 2).to_be_bytes());
    out.extend(body);
}

impl Picture {
    fn components(&self) -> usize {
        if self.sampling.0 == 0 { 1 } else { 3 }
    }

    fn jpeg(&self) -> Vec<u8> {
        let (components, (h, v)) = (self.components(), (self.sampling.0.max(1), self.sampling.1.max(1)));
        let mut out = vec![0xFF, 0xD8];
        // Steps of 8 in the frequency domain are steps of 1 in the mean.
        let mut quantization = vec![0];
        quantization.extend([8; 64]);
        segment(&mut out, 0xDB, &quantization);
        let mut frame = vec![8];
        frame.extend((self.size.1 as u16).to_be_bytes());
        frame.extend((self.size.0 as u16).to_be_bytes());
        frame.push(components as u8);
        for c in 0..components {
            frame.extend([c as u8 + 1, if c == 0 { (h << 4 | v) as u8 } else { 0x11 }, 0]);
        }
        segment(&mut out, 0xC0, &frame);
        if self.tables {
            for (class, counts, symbols) in tables() {
                segment(&mut out, 0xC4, &[&[class], &counts[..], &symbols].concat());
            }
        }
        if self.restart > 0 {
            segment(&mut out, 0xDD, &(self.restart as u16).to_be_bytes());
        }
        let mut scan = vec![components as u8];
        (0..components).for_each(|c| scan.extend([c as u8 + 1, if c == 0 { 0 } else { 0x11 }]));
        scan.extend([0, 63, 0]);
        segment(&mut out, 0xDA, &scan);
        out.extend(self.scan((h, v)));
        out.extend([0xFF, 0xD9]);
        out
    }

    fn scan(&self, (h, v): (u32, u32)) -> Vec<u8> {
        let mut bits = Bits::default();
        let mut last = [128; 3];
        let (across, down) = (self.size.0.div_ceil(8 * h), self.size.1.div_ceil(8 * v));
        for (n, (mx, my)) in (0..down).flat_map(|y| (0..across).map(move |x| (x, y))).enumerate() {
            if self.restart > 0 && n > 0 && n % self.restart == 0 {
                bits.put(0x7F, (8 - bits.count) % 8);
                bits.bytes.extend([0xFF, 0xD0 + (n / self.restart + 7) as u8 % 8]);
                last = [128; 3];
            }
            for (c, last) in last.iter_mut().enumerate().take(self.components()) {
                let (h, v) = if c == 0 { (h, v) } else { (1, 1) };
                for (x, y) in (0..v).flat_map(|y| (0..h).map(move |x| (mx * h + x, my * v + y))) {
                    let value = i32::from((self.value)(c, x, y));
                    let step = value - *last;
                    *last = value;
                    let category = 32 - step.unsigned_abs().leading_zeros();
                    let (code, len) = dc_code(c.min(1), category);
                    bits.put(code, len);
                    let mantissa = if step < 0 { step - 1 } else { step };
                    bits.put(mantissa as u32 & ((1 << category) - 1), category);
                    if c == 0 { bits.put(0b1010, 4) } else { bits.put(0, 2) }
                }
            }
        }
        // Filled up with ones.
        bits.put(0x7F, (8 - bits.count) % 8);
        bits.bytes
    }
}

fn decode(size: (u32, u32), jpeg: &[u8]) -> Result<Vec<Vec<u8>>, JpegError> {
    let mut mjpeg = Mjpeg::new(size, 1 << 16);
    mjpeg.load(jpeg)?;
    mjpeg.decode()?;
    let half = (size.0.div_ceil(2), size.1.div_ceil(2));
    let plane = |(n, (width, height)): (usize, (u32, u32))| {
        let mut samples = vec![0; width as usize * height as usize];
        (0..).zip(samples.chunks_exact_mut(width as usize)).for_each(|(y, row)| mjpeg.row(n, y, row));
        samples
    };
    Ok([size, half, half].into_iter().enumerate().map(plane).collect())
}

fn assert_waves(size: (u32, u32), planes: &[Vec<u8>], chroma: [u8; 2]) {
    for (x, y) in (0..size.1).flat_map(|y| (0..size.0).map(move |x| (x, y))) {
        assert_eq!(planes[0][(y * size.0 + x) as usize], waves(0, x / 8, y / 8), "luma at {x}, {y}");
    }
    for (plane, value) in planes[1..].iter().zip(chroma) {
        assert_eq!(plane.len(), (size.0.div_ceil(2) * size.1.div_ceil(2)) as usize);
        assert!(plane.iter().all(|c| *c == value), "{plane:?}");
    }
}

#[test]
fn every_subsampling_becomes_420() {
    for sampling in [(1, 1), (2, 1), (2, 2), (1, 2)] {
        let picture = Picture { sampling, ..WAVES };
        let planes = decode(picture.size, &picture.jpeg()).unwrap();
        assert_waves(picture.size, &planes, [90, 170]);
    }
}

#[test]
fn gray_pictures_have_neutral_chroma() {
    let picture = Picture { sampling: (0, 0), ..WAVES };
    assert_waves(picture.size, &decode(picture.size, &picture.jpeg()).unwrap(), [128, 128]);
}

#[test]
fn odd_sizes_keep_the_last_row_and_column() {
    for size in [(33, 17), (8, 8), (50, 31), (1, 1)] {
        let picture = Picture { size, sampling: (2, 1), ..WAVES };
        assert_waves(size, &decode(size, &picture.jpeg()).unwrap(), [90, 170]);
    }
}

#[test]
fn chroma_steps_stay_where_they_are() {
    let step = |c, x, _| if c == 1 && x >= 2 { 200 } else { 100 };
    let picture = Picture { sampling: (2, 1), value: step, ..WAVES };
    let planes = decode(picture.size, &picture.jpeg()).unwrap();
    let row = &planes[1][..32];
    assert!(row[..14].iter().all(|c| *c == 100) && row[18..].iter().all(|c| *c == 200), "{row:?}");
}

#[test]
fn missing_huffman_tables_are_the_standards() {
    // The tables left out are longer than the ones used here, but agree in the codes that are used.
    let picture = Picture { tables: false, ..WAVES };
    assert_waves(picture.size, &decode(picture.size, &picture.jpeg()).unwrap(), [90, 170]);
}

#[test]
fn what_follows_the_end_is_ignored() {
    let mut jpeg = WAVES.jpeg();
    jpeg.extend([0; 100]);
    assert_waves(WAVES.size, &decode(WAVES.size, &jpeg).unwrap(), [90, 170]);
    jpeg.extend(WAVES.jpeg().split_off(250));
    assert_waves(WAVES.size, &decode(WAVES.size, &jpeg).unwrap(), [90, 170]);
}

#[test]
fn a_picture_cut_off_anywhere_is_withheld() {
    let jpeg = WAVES.jpeg();
    for len in 0..jpeg.len() {
        assert!(decode(WAVES.size, &jpeg[..len]).is_err(), "cut off at {len} of {}", jpeg.len());
    }
}

#[test]
fn a_picture_that_ends_early_is_withheld() {
    let jpeg = WAVES.jpeg();
    let start = jpeg.windows(2).position(|w| w == [0xFF, 0xDA]).unwrap() + 14;
    for len in start..jpeg.len() - 3 {
        let mut short = jpeg[..len].to_vec();
        if short.last() == Some(&0xFF) {
            continue;
        }
        short.extend([0xFF, 0xD9]);
        assert!(decode(WAVES.size, &short).is_err(), "ended at {len} of {}", jpeg.len());
    }
}

#[test]
fn a_picture_with_a_hole_is_withheld() {
    let jpeg = WAVES.jpeg();
    let start = jpeg.windows(2).position(|w| w == [0xFF, 0xDA]).unwrap() + 14;
    // The rest is out of step with its blocks and comes to fewer of them.
    let mut withheld = 0;
    for at in start..jpeg.len() - 22 {
        let holed = [&jpeg[..at], &jpeg[at + 16..]].concat();
        withheld += u32::from(decode(WAVES.size, &holed).is_err());
    }
    assert!(withheld as usize == jpeg.len() - 22 - start, "{withheld}");
}

/// Where a marker begins.
fn find(jpeg: &[u8], marker: u8) -> usize {
    jpeg.windows(2).position(|w| w == [0xFF, marker]).unwrap()
}

/// Found by fuzzing: the decoder took the next scan for the end, and the picture before filled the rest.
#[test]
fn a_scan_that_breaks_off_before_another_marker_is_withheld() {
    let jpeg = WAVES.jpeg();
    let scan = find(&jpeg, 0xDA);
    let table = &jpeg[find(&jpeg, 0xDB)..find(&jpeg, 0xC0)];
    for len in (scan + 14..jpeg.len() - 2).filter(|len| jpeg[len - 1] != 0xFF) {
        for next in [&jpeg[scan..], &[table, &[0xFF, 0xD9]].concat()] {
            let broken = [&jpeg[..len], next].concat();
            assert!(decode(WAVES.size, &broken).is_err(), "broken off at {len} of {}", jpeg.len());
        }
    }
}

#[test]
fn restart_markers_change_nothing() {
    for (sampling, restart) in
        [(1, 1), (2, 1), (2, 2), (0, 0)].into_iter().flat_map(|s| (1..50).map(move |r| (s, r)))
    {
        let picture = Picture { sampling, restart, ..WAVES };
        let chroma = if sampling.0 == 0 { [128, 128] } else { [90, 170] };
        assert_waves(picture.size, &decode(picture.size, &picture.jpeg()).unwrap(), chroma);
    }
}

/// Where restart markers are, and the end.
fn stretches(jpeg: &[u8]) -> Vec<usize> {
    let start = find(jpeg, 0xDA) + 14;
    let ends = |at: &usize| jpeg[*at] == 0xFF && matches!(jpeg[at + 1], 0xD0..=0xD7 | 0xD9);
    (start..jpeg.len() - 1).filter(ends).collect()
}

/// What is missing there would be made up, and the rest move to where it does not belong.
#[test]
fn a_picture_with_a_hole_before_a_restart_marker_is_withheld() {
    let picture = Picture { restart: 2, ..WAVES };
    let jpeg = picture.jpeg();
    let marks = stretches(&jpeg);
    assert_eq!(marks.len(), 4 * 3 / 2);
    for (n, mark) in marks.iter().enumerate() {
        for cut in 2..=7 {
            let holed = [&jpeg[..mark - cut], &jpeg[*mark..]].concat();
            assert!(decode(picture.size, &holed).is_err(), "{cut} bytes before mark {n}");
        }
    }
}

#[test]
fn a_picture_without_all_its_restart_markers_is_withheld() {
    // More than eight, so that their numbers come round.
    let picture = Picture { size: (128, 96), restart: 3, ..WAVES };
    let jpeg = picture.jpeg();
    let marks = stretches(&jpeg);
    assert_eq!(marks.len(), 8 * 6 / 3);
    for from in 0..marks.len() {
        for to in from + 1..marks.len() {
            let without = [&jpeg[..marks[from]], &jpeg[marks[to]..]].concat();
            assert!(decode(picture.size, &without).is_err(), "without marks {from} to {to}");
        }
    }
    // Announced, and not there; there, and not announced.
    let dri = find(&jpeg, 0xDD);
    let plain = Picture { restart: 0, ..picture }.jpeg();
    let scan = find(&plain, 0xDA);
    let announced = [&plain[..scan], &jpeg[dri..dri + 6], &plain[scan..]].concat();
    let unannounced = [&jpeg[..dri], &jpeg[dri + 6..]].concat();
    for (what, jpeg) in [("announced", announced), ("not announced", unannounced)] {
        assert!(decode(picture.size, &jpeg).is_err(), "{what}");
    }
}

#[test]
fn what_no_camera_sends_is_withheld() {
    let jpeg = WAVES.jpeg();
    let (frame, scan) = (find(&jpeg, 0xC0), find(&jpeg, 0xDA));
    let mut progressive = jpeg.clone();
    progressive[frame + 1] = 0xC2;
    // Luma alone, of a picture that is said to have colours.
    let gray = Picture { sampling: (0, 0), ..WAVES }.jpeg();
    let without_chroma = [&jpeg[..scan], &gray[find(&gray, 0xDA)..]].concat();
    let two_scans = [&jpeg[..jpeg.len() - 2], &jpeg[scan..]].concat();
    for (what, jpeg) in
        [("progressive", progressive), ("without chroma", without_chroma), ("two scans", two_scans)]
    {
        assert!(Mjpeg::new(WAVES.size, 1 << 16).load(&jpeg).is_err(), "{what}");
    }
}

#[test]
fn another_size_is_withheld() {
    for size in [(32, 48), (64, 40), (128, 96), (48, 64)] {
        assert!(decode(size, &WAVES.jpeg()).is_err(), "{size:?}");
    }
}

#[test]
fn garbage_is_withheld_and_leaves_the_decoder_usable() {
    let jpeg = WAVES.jpeg();
    let mut mjpeg = Mjpeg::new(WAVES.size, 1 << 16);
    let mut seed = 1u32;
    for _ in 0..2000 {
        let mut damaged = jpeg.clone();
        for _ in 0..3 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (seed >> 8) as usize % damaged.len();
            damaged[at] = (seed >> 24) as u8;
        }
        // Damage that still is a JPEG decodes to something; it must only not bring the camera down.
        if mjpeg.load(&damaged).is_ok() {
            let _ = mjpeg.decode();
        }
    }
    mjpeg.load(&jpeg).unwrap();
    mjpeg.decode().unwrap();
}
