//! Base58btc, the text form of peer ids (draft-msporny-base58). Written here because it is forty lines and keeps one
//! crate out of the tree of everybody who reuses this one; a test holds it against the `bs58` crate.

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The text of `bytes`. Cost grows with the square of the length: callers bound it.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    // Little-endian base-58 digits of the number that the bytes stand for.
    let mut digits: Vec<u8> = Vec::with_capacity(bytes.len() * 138 / 100 + 1);
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = low_byte(carry % 58);
            carry /= 58;
        }
        while carry > 0 {
            digits.push(low_byte(carry % 58));
            carry /= 58;
        }
    }
    let letters = digits
        .iter()
        .rev()
        .filter_map(|digit| ALPHABET.get(usize::from(*digit)));
    std::iter::repeat_n(&ALPHABET[0], zeros)
        .chain(letters)
        .map(|letter| char::from(*letter))
        .collect()
}

/// The bytes a text stands for; `None` when it has a letter outside the alphabet. Callers bound the length.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let zeros = text
        .bytes()
        .take_while(|letter| *letter == ALPHABET[0])
        .count();
    // Little-endian bytes of the number that the letters stand for.
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    for letter in text.bytes() {
        let digit = ALPHABET.iter().position(|known| *known == letter)?;
        let mut carry = u32::try_from(digit).ok()?;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = low_byte(carry & 0xff);
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(low_byte(carry & 0xff));
            carry >>= 8;
        }
    }
    bytes.resize(bytes.len() + zeros, 0);
    bytes.reverse();
    Some(bytes)
}

/// A value below 256 as a byte.
fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    #[test]
    fn both_directions_agree_with_the_reference_crate_for_any_bytes() {
        let mut rng = SeededRng::from_seed(58);
        for round in 0..2000 {
            let mut bytes: Vec<u8> = (0..rng.index(60))
                .map(|_| rng.next_u64().to_le_bytes()[0])
                .collect();
            let zeros = round % 4;
            bytes.iter_mut().take(zeros).for_each(|byte| *byte = 0);
            let text = bs58::encode(&bytes).into_string();
            assert_eq!(encode(&bytes), text);
            assert_eq!(decode(&text), Some(bytes));
        }
    }

    #[test]
    fn letters_outside_the_alphabet_are_refused_and_the_empty_text_is_empty() {
        for bad in ["0", "O", "I", "l", " ", "1 ", "\u{e9}"] {
            assert_eq!(decode(bad), None, "{bad}");
            assert!(bs58::decode(bad).into_vec().is_err());
        }
        assert_eq!((encode(&[]), decode("")), (String::new(), Some(Vec::new())));
    }
}
