//! What other drivers got wrong with a device that lies: each must be a violation that a reset recovers from, and no frame.

use super::*;

/// A lie in a used element: the length of what was written, and whose buffer it was.
struct Lie {
    what: &'static str,
    len: fn(u32) -> u32,
    id: fn(u16) -> u16,
}

const LIES: [Lie; 6] = [
    // Linux: CVE-2025-38375 (a length beyond the buffer was believed).
    Lie { what: "a length beyond the buffer", len: |_| 1 << 20, id: |id| id },
    Lie { what: "a length of all ones", len: |_| u32::MAX, id: |id| id },
    // No room for the header: what is behind it would have a length below zero.
    Lie { what: "a length shorter than the header", len: |_| 11, id: |id| id },
    Lie { what: "a length of nothing", len: |_| 0, id: |id| id },
    // Detaching a buffer that is not out walks a free list into memory.
    Lie { what: "a buffer that is not out", len: |len| len, id: |id| id ^ 0x40 },
    Lie { what: "a buffer outside the ring", len: |len| len, id: |id| id | 0x8000 },
];

#[test]
fn lies_about_used_buffers_are_caught() {
    for lie in LIES {
        each(|model, mut rig| {
            rig.nic.enable(true).unwrap();
            // One burst of the smallest numbers: 0x40 and above are not out.
            let mut burst = crate::mem::Burst::new();
            for _ in 0..16 {
                let packet = rig.lend().unwrap();
                assert!(burst.push(packet).is_ok());
            }
            assert_eq!(rig.queues[0].rx_post(&mut burst), 16);
            assert!(model.receive_as(&rig.dma, &frame(100), lie.len, lie.id));
            assert!(rig.receive().is_empty(), "{}", lie.what);
            assert!(rig.nic.tick(1), "{}: asks for a reset", lie.what);
            rig.stop();
            rig.nic.enable(true).unwrap();
            rig.post();
            assert!(model.receive(&rig.dma, &frame(100), &[0; 12], 1));
            assert_eq!(rig.receive().len(), 1, "{}: and works again", lie.what);
            rig.stop();
        });
    }
}

/// Linux: CVE-2024-43897 (a header whose checksum or segmentation fields do not fit the frame reached the stack).
#[test]
fn headers_that_do_not_fit_their_frame_are_refused() {
    each(|model, mut rig| {
        rig.nic.enable(true).unwrap();
        rig.post();
        for header in [
            // flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers.
            [1, 0, 0, 0, 0, 0, 98, 0, 1, 0, 1, 0],
            [1, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 0, 1, 0],
            [0, 1, 54, 0, 0, 0, 0, 0, 0, 0, 1, 0],
            [0, 1, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 1, 0],
            [0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 1, 0],
            [0, 0x7f, 0, 0, 0, 4, 0, 0, 0, 0, 1, 0],
        ] {
            assert!(model.receive(&rig.dma, &frame(100), &header, 1));
            assert!(rig.receive().is_empty(), "{header:?}");
        }
        assert_eq!(rig.queues[0].take_refused().device, 6);
        rig.stop();
    });
}

/// Section 5.1.4.1: 1 to 0x8000 pairs. The control queue stands behind them (section 5.1.2), and its number has 16 bits: twice a
/// number that is too large is a small one.
#[test]
fn more_pairs_than_queues_have_numbers_are_refused() {
    for pairs in [0x8000, 0x8001, u16::MAX] {
        let events: Arc<dyn crate::nic::Events> = Arc::new(crate::nic::tests::rig::Deaf);
        let registers = Some(Arc::new(Model::of_pairs(pairs)) as Arc<dyn crate::nic::Registers>);
        let given = VirtioConfig { queues: 2, ..config() };
        let opened = open(&given, crate::nic::NicEnv { registers, ..crate::nic::NicEnv::of(events) });
        assert!(matches!(opened, Err(crate::nic::NicError::State(_))), "{pairs:#x}");
    }
}
