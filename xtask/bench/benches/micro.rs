//! The smallest steps, by criterion: `cargo bench -p weir-bench`.
//!
//! `cargo xtask bench` measures with peers in the same run; this is for comparing a change with what was there before
//! (`--save-baseline`, `--baseline`).

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use etherparse::PacketBuilder;
use weir_core::flow::table::{FlowTable, Look};
use weir_core::flow::{FlowKey, Secret};
use weir_core::mem::ring;
use weir_core::wire::{self, Family, Parsed, checksum};

/// A frame of minimum size, TCP or UDP over IPv4.
fn frame(number: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(
        [198, 51, 100, number as u8],
        [192, 0, 2, 1],
        64,
    );
    let mut bytes = Vec::new();
    let written = if number.is_multiple_of(2) {
        builder.tcp(number, 443, 1, 1000).ack(1).write(&mut bytes, &[])
    } else {
        builder.udp(number, 53).write(&mut bytes, &[0; 18])
    };
    written.expect("memory takes every frame");
    bytes.resize(bytes.len().max(60), 0);
    bytes
}

fn parse(c: &mut Criterion) {
    let frames: Vec<_> = (0..64).map(frame).collect();
    let mut parsed = Parsed::default();
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Elements(frames.len() as u64));
    group.bench_function("64 frames", |b| {
        b.iter(|| {
            for frame in &frames {
                let _ = wire::parse_into(&mut parsed, black_box(frame));
                black_box(&mut parsed);
            }
        });
    });
    group.finish();
}

fn sums(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum");
    for len in [20, 1500, 65535] {
        let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::from_parameter(len), &bytes, |b, bytes| {
            b.iter(|| checksum::checksum(black_box(bytes)));
        });
    }
    group.finish();
}

fn flows(c: &mut Criterion) {
    let key = |number: u32| {
        let (mut src, mut dst) = ([0; 16], [0; 16]);
        src[..4].copy_from_slice(&number.to_be_bytes());
        dst[..4].copy_from_slice(&[192, 0, 2, 1]);
        FlowKey::new((&src, 1024 + (number % 50_000) as u16), (&dst, 443), 6, Family::V4, 0)
    };
    let mut group = c.benchmark_group("flow lookup, bursts of 32");
    group.throughput(Throughput::Elements(32));
    for count in [1_000u32, 100_000] {
        let mut table = FlowTable::new(count as usize, 0, Secret::from_seed(1)).expect("memory for a table");
        for number in 0..count {
            let key = key(number);
            table.insert(table.hash(&key), key, number).expect("room for as many as it was made for");
        }
        let mut next = 1u32;
        let (mut looks, mut found) = ([Look::NONE; 32], [None; 32]);
        group.bench_with_input(BenchmarkId::from_parameter(count), &table, |b, table| {
            b.iter(|| {
                let keys: [FlowKey; 32] = std::array::from_fn(|_| {
                    next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    key((next >> 4) % count)
                });
                table.look(&keys, &mut looks);
                table.find_burst(&keys, &looks, &mut found);
                black_box(&mut found);
            });
        });
    }
    group.finish();
}

fn rings(c: &mut Criterion) {
    let (mut from, mut to) = ring::channel::<u64>(1024).expect("memory for a ring");
    let items: [u64; 32] = std::array::from_fn(|n| n as u64);
    let mut out = [0; 32];
    let mut group = c.benchmark_group("ring");
    group.throughput(Throughput::Elements(32));
    group.bench_function("32 in and out on one core", |b| {
        b.iter(|| {
            black_box(from.push_slice(black_box(&items)));
            black_box(to.pop_slice(&mut out));
        });
    });
    group.finish();
}

criterion_group!(micro, parse, sums, flows, rings);
criterion_main!(micro);
