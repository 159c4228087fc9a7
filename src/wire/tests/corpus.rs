//! Captures that others made, where they are present (`WEIR_SHARED`, or `../shared`).

use std::fs;
use std::path::PathBuf;

use crate::wire::{flow_hash, offload, parse, parse_inner, parse_super, tso::Segmenter};

fn captures() -> Option<Vec<PathBuf>> {
    let root = std::env::var_os("WEIR_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let entries = fs::read_dir(root.join("corpus/pcap-tcpdump")).ok()?;
    Some(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
}

/// Everything that looks at a frame, on one frame.
fn exercise(bytes: &[u8]) {
    for parsed in [parse(bytes), parse_super(bytes)] {
        let _ = flow_hash(bytes, &parsed, 7);
        let _ = parse_inner(bytes, &parsed);
        let mut copy = bytes.to_vec();
        let _ = offload::is_transport_valid(&copy, &parsed);
        let _ = offload::fill_ipv4_header(&mut copy, &parsed);
        let _ = offload::fill_ipv4_header_of(&mut copy);
        if offload::fill_transport(&mut copy, &parsed) && parsed.error.is_none() {
            assert_eq!(offload::is_transport_valid(&copy, &parsed), Some(true));
        }
        if let Some(cut) = Segmenter::new(bytes, &parsed, 100) {
            let mut out = vec![0; cut.segment_max()];
            for index in 0..cut.segments() {
                assert!(cut.write(bytes, index, &mut out).is_some());
            }
        }
    }
}

#[test]
fn captures_are_parsed_without_panic() {
    let Some(files) = captures() else {
        println!("no captures here: skipped");
        return;
    };
    let (mut frames, mut good) = (0u64, 0u64);
    for file in files {
        let Ok(bytes) = fs::read(&file) else { continue };
        let Ok(mut reader) = pcap_file::pcap::PcapReader::new(bytes.as_slice()) else { continue };
        let ethernet = reader.header().datalink == pcap_file::DataLink::ETHERNET;
        // Other link types are bytes all the same.
        while let Some(Ok(packet)) = reader.next_raw_packet() {
            exercise(&packet.data);
            frames += u64::from(ethernet);
            good += u64::from(ethernet && parse(&packet.data).error.is_none());
        }
    }
    println!("{frames} Ethernet frames, {good} well-formed");
    assert!(frames == 0 || good > 0);
}
