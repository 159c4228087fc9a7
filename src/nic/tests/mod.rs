//! What the tests of several back ends share.

pub(crate) mod rig;
