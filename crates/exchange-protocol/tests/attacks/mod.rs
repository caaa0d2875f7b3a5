//! What hostile peers try, each with the figure it is held to. `docs/SECURITY.md` lists all of them.

mod flood;
mod lies;
mod ways_in;

pub(crate) use ways_in::told_ids;
