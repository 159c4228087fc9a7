//! The parse against tables, an independent parser and captures; sums against the RFCs; segments against what they
//! came from.

mod corpus;
pub(crate) mod frames;
mod oracle;
mod parse;
mod sums;
mod tso;
