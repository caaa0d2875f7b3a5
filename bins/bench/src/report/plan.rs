//! What one run measures, and at which sizes.

use crate::simulate::MAX_NODES;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) is_quick: bool,
    /// Rounds of races in memory and of cryptography.
    pub(crate) rounds: usize,
    /// Rounds of what syncs to disk.
    pub(crate) disk_rounds: usize,
    pub(crate) peers: usize,
    /// Connections one after the other.
    pub(crate) connections: usize,
    pub(crate) idle: usize,
    /// Newcomers that start at one moment, and how often.
    pub(crate) newcomers: usize,
    pub(crate) newcomer_rounds: usize,
    /// Sizes of federations that start, and how often each does.
    pub(crate) nodes: Vec<usize>,
    pub(crate) starts: usize,
    /// Sizes of lists that are compared.
    pub(crate) lists: Vec<usize>,
    pub(crate) list_rounds: usize,
    /// Nodes and seeds of simulated federations.
    pub(crate) simulated: Vec<(usize, u64)>,
}

impl Plan {
    /// Every size of the bars.
    pub(crate) fn full() -> Self {
        Self {
            is_quick: false,
            rounds: 11,
            disk_rounds: 9,
            peers: 100_000,
            connections: 100,
            idle: 1000,
            newcomers: 50,
            newcomer_rounds: 5,
            nodes: vec![10, 50, 100],
            starts: 3,
            lists: vec![1_000, 10_000, 100_000],
            list_rounds: 3,
            simulated: vec![(100, 20), (1_000, 20), (MAX_NODES, 3)],
        }
    }

    /// Small sizes: shows that everything works, measures no bar.
    pub(crate) fn quick() -> Self {
        Self {
            is_quick: true,
            rounds: 3,
            disk_rounds: 3,
            peers: 10_000,
            connections: 20,
            idle: 100,
            newcomers: 10,
            newcomer_rounds: 1,
            nodes: vec![10],
            starts: 1,
            lists: vec![1_000],
            list_rounds: 1,
            simulated: vec![(100, 2)],
        }
    }
}

/// A number with a comma between thousands.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }
}
