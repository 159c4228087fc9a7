//! Frames to measure with.

use etherparse::PacketBuilder;

/// A generator of numbers that is the same everywhere (xorshift64, Marsaglia 2003).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Minimum-size frames of all combinations of tagged and not, IPv4 and IPv6, TCP and UDP, in random order.
pub fn mixed(count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random(seed | 1);
    (0..count).map(|_| frame(&mut random)).collect()
}

fn frame(random: &mut Random) -> Vec<u8> {
    let kind = random.next();
    let (sport, dport) = (random.next() as u16, random.next() as u16);
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let mut address = || -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&random.next().to_ne_bytes());
        bytes[8..].copy_from_slice(&random.next().to_ne_bytes());
        bytes
    };
    let (src, dst) = (address(), address());
    let first4 = |address: [u8; 16]| [address[0], address[1], address[2], address[3]];
    let mut bytes = Vec::new();
    macro_rules! finish {
        ($builder:expr) => {
            if kind & 4 == 0 {
                $builder.tcp(sport, dport, 1, 1000).ack(1).write(&mut bytes, &[])
            } else {
                $builder.udp(sport, dport).write(&mut bytes, &[1, 2, 3, 4])
            }
        };
    }
    let written = match (kind & 1 != 0, kind & 2 != 0) {
        (false, false) => finish!(builder.ipv4(first4(src), first4(dst), 64)),
        (false, true) => finish!(builder.ipv6(src, dst, 64)),
        (true, false) => {
            finish!(builder.single_vlan(5.try_into().unwrap_or_default()).ipv4(first4(src), first4(dst), 64))
        }
        (true, true) => finish!(builder.single_vlan(5.try_into().unwrap_or_default()).ipv6(src, dst, 64)),
    };
    debug_assert!(written.is_ok());
    // Without the FCS.
    if bytes.len() < 60 {
        bytes.resize(60, 0);
    }
    bytes
}
