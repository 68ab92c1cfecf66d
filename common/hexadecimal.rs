//! Bytes as digits, and back.

/// Bytes in hexadecimal, in lower case.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.as_ref().iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// `N` bytes from exactly as many pairs of digits, in lower case alone: one way to write a thing. Whoever takes capitals too
/// lowers them before.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_lower_case_and_of_the_right_number() {
        assert_eq!(hex([0, 9, 0xAB, 0xFF]), "0009abff");
        assert_eq!(unhex("0009abff"), Some([0, 9, 0xAB, 0xFF]));
        for wrong in ["", "0009abf", "0009abff0", "0009abff00", "0009ABff", "0009abfg", "0009abé"] {
            assert_eq!(unhex::<4>(wrong), None, "{wrong}");
        }
    }
}
