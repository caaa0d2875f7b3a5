//! Where the node stands with its federation: discovery, sync, maintenance.

/// The phase of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Nobody to talk to yet.
    #[default]
    Discovery,
    /// Somebody is there, and lists differ or were not compared.
    Sync,
    /// The last comparison found nothing new.
    Maintenance,
}

/// What moves a node from phase to phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PhaseEvent {
    /// A peer introduced itself and fits.
    Met,
    /// A comparison or announcement brought something new.
    Difference,
    /// A comparison brought nothing new.
    Agreement,
    /// The last peer is gone.
    Alone,
}

impl Phase {
    /// The stable lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Maintenance => "maintenance",
            Self::Sync => "sync",
        }
    }

    /// The next phase; `None` when the event cannot happen in this phase.
    pub(crate) const fn after(self, event: PhaseEvent) -> Option<Self> {
        match (self, event) {
            (Self::Discovery | Self::Maintenance | Self::Sync, PhaseEvent::Alone) => {
                Some(Self::Discovery)
            }
            (Self::Discovery | Self::Sync, PhaseEvent::Met) => Some(Self::Sync),
            (Self::Maintenance, PhaseEvent::Met) => Some(Self::Maintenance),
            (Self::Discovery, PhaseEvent::Agreement | PhaseEvent::Difference) => None,
            (Self::Maintenance | Self::Sync, PhaseEvent::Agreement) => Some(Self::Maintenance),
            (Self::Maintenance | Self::Sync, PhaseEvent::Difference) => Some(Self::Sync),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_table_is_exactly_this() {
        use Phase::{Discovery, Maintenance, Sync};
        let events = [
            PhaseEvent::Met,
            PhaseEvent::Difference,
            PhaseEvent::Agreement,
            PhaseEvent::Alone,
        ];
        let table = [
            (Discovery, [Some(Sync), None, None, Some(Discovery)]),
            (
                Sync,
                [Some(Sync), Some(Sync), Some(Maintenance), Some(Discovery)],
            ),
            (
                Maintenance,
                [
                    Some(Maintenance),
                    Some(Sync),
                    Some(Maintenance),
                    Some(Discovery),
                ],
            ),
        ];
        for (phase, next) in table {
            assert_eq!(
                events.map(|event| phase.after(event)),
                next,
                "{}",
                phase.as_str()
            );
        }
    }
}
