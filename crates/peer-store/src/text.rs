//! The text of a peers file: reading it entry by entry, and writing it so that what people wrote stays.

pub(crate) mod amend;
pub(crate) mod canonical;
pub(crate) mod checksum;
pub(crate) mod content;
pub(crate) mod decode;
pub(crate) mod document;
pub(crate) mod entry;
pub(crate) mod guard;
pub(crate) mod ink;
pub(crate) mod lengths;
pub(crate) mod piece;
pub(crate) mod quick;
pub(crate) mod render;
pub(crate) mod rows;
pub(crate) mod run;
pub(crate) mod scalar;
pub(crate) mod scan;
pub(crate) mod sheet;
pub(crate) mod spell;
pub(crate) mod split;
