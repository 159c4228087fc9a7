//! Why a frame was dropped.
#![forbid(unsafe_code)]

/// Length of a table indexed by reason (`WEIR_DROP_REASONS`); larger than the number of reasons that exist.
pub const DROP_REASONS: usize = 32;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $value:literal, $name:literal;)*) => {
        /// Why a frame was dropped (`WEIR_DROP_*`). 0 to 16 are pf's, under the names that pfctl prints
        /// (`PFRES_NAMES` in xnu's pfvar.h); the rest are the NIC's own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])* $variant = $value,)*
        }

        impl DropReason {
            /// Every reason, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The reason with this number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name under which people and `--json` see it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// A rule said `block`.
    Match = 0, "match";
    /// A header's own lengths contradict each other.
    BadOffset = 1, "bad-offset";
    /// A fragment that cannot be part of a datagram.
    Fragment = 2, "fragment";
    /// The frame ends inside a header.
    Short = 3, "short";
    /// Normalisation refused it.
    Normalize = 4, "normalize";
    /// No memory for what the verdict needs.
    Memory = 5, "memory";
    /// TCP timestamp out of range.
    BadTimestamp = 6, "bad-timestamp";
    /// Queues ahead are congested.
    Congestion = 7, "congestion";
    /// IP options or extension headers, and the rule that passes the frame lacks `allow-opts`.
    IpOption = 8, "ip-option";
    /// A checksum does not fit.
    ProtoCksum = 9, "proto-cksum";
    /// The frame does not fit its state.
    StateMismatch = 10, "state-mismatch";
    /// The state could not be inserted.
    StateInsert = 11, "state-insert";
    /// The state table, or the rule's share of it, is full.
    StateLimit = 12, "state-limit";
    /// A limit per source was reached.
    SrcLimit = 13, "src-limit";
    /// Answered by the SYN proxy.
    Synproxy = 14, "synproxy";
    /// A pipe was full.
    Dummynet = 15, "dummynet";
    /// Port 0 where none is allowed.
    InvalidPort = 16, "invalid-port";
    /// Shorter than an Ethernet header.
    Runt = 17, "runt";
    /// Longer than the MTU allows, or than the buffer.
    Giant = 18, "giant";
    /// Not for this station.
    MacFilter = 19, "mac-filter";
    /// Transmit without a link.
    NoCarrier = 20, "no-carrier";
    /// Nothing was posted to receive into.
    NoBuffer = 21, "no-buffer";
    /// Offset, length or checksum metadata outside the buffer.
    BadDescriptor = 22, "bad-descriptor";
    /// The ring to the flow's own shard was full.
    SteerFull = 23, "steer-full";
    /// The interface went down with the frame in hand.
    Disabled = 24, "disabled";
    /// The device reported an error.
    Device = 25, "device";
    /// The mode is `block`.
    Admin = 26, "admin";
    /// Asks for an offload that does not fit the frame.
    Offload = 27, "offload";
}

impl DropReason {
    /// Index into a table of [`DROP_REASONS`] entries.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}
