//! Numbers and texts in few bytes, for what is kept in memory only. No format of a file or of a message depends on it.

/// Appends a number: seven bits a byte, the lowest first.
pub(crate) fn put_number(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends bytes and, before them, how many they are.
pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(u64::try_from(bytes.len()).unwrap_or(u64::MAX), out);
    out.extend_from_slice(bytes);
}

/// Reads what was packed, from its start on. `None` where nothing of that kind is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Passes over as many numbers without reading them, and returns their bytes.
    pub(crate) fn skip_numbers(&mut self, count: usize) -> Option<&'a [u8]> {
        let ends = self.0.iter().enumerate().filter(|(_, byte)| **byte < 0x80);
        let len = match count.checked_sub(1) {
            None => 0,
            Some(last) => ends.map(|(at, _)| at + 1).nth(last)?,
        };
        self.take(len)
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        self.take(len)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_come_back_and_cut_ones_do_not() {
        let ends = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]);
        for number in ends.chain([u64::MAX]) {
            let mut bytes = Vec::new();
            put_number(number, &mut bytes);
            let mut reader = Reader(&bytes);
            assert_eq!((reader.number(), reader.0.len()), (Some(number), 0));
            assert_eq!(Reader(&bytes[..bytes.len() - 1]).number(), None);
            assert_eq!(Reader(&bytes[..bytes.len() - 1]).skip_numbers(1), None);
            put_number(number, &mut bytes);
            assert_eq!(Reader(&bytes).skip_numbers(2), Some(bytes.as_slice()));
            assert_eq!(Reader(&bytes).skip_numbers(0), Some([].as_slice()));
        }
        assert_eq!(Reader(&[0xff; 12]).number(), None);
    }

    #[test]
    fn what_is_not_there_is_not_read() {
        let mut bytes = Vec::new();
        put_bytes(b"abc", &mut bytes);
        assert_eq!(Reader(&bytes).text(), Some("abc"));
        assert_eq!(Reader(&bytes[..3]).bytes(), None);
        assert_eq!(Reader(&[1, 0xff]).text(), None);
        assert_eq!(Reader(&[2]).array::<2>(), None);
        assert_eq!(Reader(&[]).byte(), None);
    }
}
