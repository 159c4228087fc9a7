use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::{Config, Model, QemuDevice};
use crate::dma::Dma;
use crate::mem::Mem;
use crate::pci::PciDevice;
use crate::sched::lock;
use crate::{Host, HostConfig};

/// The device's registers answer, its DMA goes where it is allowed to, and everything else is told.
#[test]
fn a_machine_has_registers_interrupts_and_an_iommu() {
    let host = Host::new(HostConfig { collect_violations: true, ..HostConfig::threads() });
    let (config, socket) = Config::on_socket(Model::E1000e, [2, 0, 0, 0, 0, 7]).unwrap();
    let device = QemuDevice::start(&config).unwrap();
    assert_eq!(device.config_read(0, 4), 0x10d3_8086);
    assert_eq!(device.bar(0).unwrap().size, 128 << 10);
    // 82574 datasheet section 10.2.5.16: the first receive address is what the EEPROM said.
    device.config_write(4, 2, 6);
    assert_eq!(device.read(0, 0x5400, 4), 0x0000_0002);
    assert_eq!(device.read(0, 0x5404, 4), 0x8000_0700);

    let seen = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
    let sink = seen.clone();
    let raise = move |vector| {
        lock(&sink.0).push(vector);
        sink.1.notify_all();
    };
    device.start_interrupts(3, Arc::new(raise)).unwrap();
    // Other causes to vector 2 (section 10.2.4.8: IVAR), enabled, and made by hand (sections 10.2.4.3, 10.2.4.5).
    device.write(0, 0xe4, 4, 0x000a_0000);
    device.write(0, 0xd0, 4, 1 << 24);
    device.write(0, 0xc8, 4, 1 << 24);
    let limit = Duration::from_secs(10);
    let guard = seen.1.wait_timeout_while(lock(&seen.0), limit, |seen| seen.is_empty()).unwrap();
    assert_eq!(*guard.0, [2]);
    drop(guard);

    // One legacy receive descriptor into a buffer that is mapped, then one into the void.
    let rt = host.runtime();
    let arena = device.arena();
    rt.iommu.attach(77, device.clone());
    let mem = |bytes| Mem::buffer_in(arena.as_ref(), 3, bytes, 0).unwrap();
    let (ring, buffer) = (mem(4096), mem(4096));
    let (ring_dma, buffer_dma) = (Dma::new(rt, 77, 64).unwrap(), Dma::new(rt, 77, 64).unwrap());
    let (ring_at, _) = ring_dma.prepare(&ring, 0, 0).unwrap();
    let (buffer_at, _) = buffer_dma.prepare(&buffer, 0, 0).unwrap();
    ring.write(0, &buffer_at.to_le_bytes()).unwrap();
    ring.write(16, &0x5_0000_0000u64.to_le_bytes()).unwrap();
    for (register, value) in [
        (0x2800, ring_at & 0xffff_ffff),
        (0x2804, ring_at >> 32),
        (0x2808, 128),
        (0x2810, 0),
        (0x100, 0x8002 | 1 << 3 | 1 << 4),
        (0x2818, 1),
    ] {
        device.write(0, register, 4, value);
    }
    let frame: Vec<u8> = (0..100u8).collect();
    socket.send(&frame).unwrap();
    let mut got = [0; 100];
    for _ in 0..2000 {
        buffer.read(0, &mut got).unwrap();
        if got == *frame {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(got, *frame);
    assert_eq!(device.faults(), Vec::<String>::new());
    let mut told = Vec::new();
    for _ in 0..2000 {
        if told.is_empty() {
            device.write(0, 0x2818, 4, 2);
            socket.send(&frame).unwrap();
            told = device.faults();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let text = told.first().unwrap();
    assert!(text.contains("0x500000000") || text.contains("writes"), "{text}");
    ring_dma.complete().unwrap();
    buffer_dma.complete().unwrap();
    assert!(rt.iommu.translate(77, ring_at, 1, false).is_none());
}
