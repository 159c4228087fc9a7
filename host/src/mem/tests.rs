use super::{Map, Mem, PAGE};
use crate::IoReturn;
use crate::dma::{Dma, Iommu};
use crate::{Host, HostConfig};

fn at(m: &Map, offset: u64) -> u8 {
    assert!(offset < m.length());
    // SAFETY: inside the mapping.
    unsafe { *((m.address() + offset) as *const u8) }
}

#[test]
fn buffers_parts_and_chains_show_the_same_bytes() {
    let a = Mem::buffer(3, 2 * PAGE, 1 << 16).unwrap();
    assert!((a.address().unwrap().0 as u64).is_multiple_of(1 << 16));
    let b = Mem::buffer(3, 100, 0).unwrap();
    let part = Mem::sub(3, PAGE, PAGE, &a).unwrap();
    let inner = Mem::sub(3, 10, 5, &part).unwrap();
    let all = Mem::multi(3, vec![part.clone(), b.clone()]).unwrap();
    assert_eq!(all.length(), PAGE + 100);
    all.write(PAGE - 2, &[1, 2, 3, 4]).unwrap();
    let mut out = [0; 2];
    a.read(2 * PAGE - 2, &mut out).unwrap();
    assert_eq!(out, [1, 2]);
    b.read(0, &mut out).unwrap();
    assert_eq!(out, [3, 4]);
    inner.write(0, b"hello").unwrap();
    let m = Map::new(&all, 0, 0, 0, 0, 0).unwrap();
    assert_eq!((at(&m, 10), at(&m, PAGE - 1), at(&m, PAGE)), (b'h', 2, 3));
    let m = Map::new(&inner, 0x1000, 0, 1, 3, 0).unwrap();
    assert_eq!((m.length(), m.offset(), at(&m, 0)), (3, 1, b'e'));
    assert_eq!(
        Map::new(&Mem::multi(3, vec![b.clone(), a.clone()]).unwrap(), 0, 0, 0, 0, 0).err(),
        Some(IoReturn::NOT_ALIGNED)
    );
}

#[test]
fn wrong_ranges_are_refused() {
    let a = Mem::buffer(3, 100, 0).unwrap();
    for (capacity, align) in [(0, 0), (1 << 33, 0), (10, 3), (10, 1 << 31)] {
        assert_eq!(Mem::buffer(3, capacity, align).err(), Some(IoReturn::BAD_ARGUMENT), "{capacity} {align}");
    }
    assert_eq!(Mem::sub(3, 0, 0, &a).err(), Some(IoReturn::BAD_ARGUMENT));
    assert_eq!(Mem::sub(3, 90, 11, &a).err(), Some(IoReturn::NO_SPACE));
    assert_eq!(Mem::sub(3, u64::MAX, 2, &a).err(), Some(IoReturn::NO_SPACE));
    assert_eq!(Mem::multi(3, vec![]).err(), Some(IoReturn::BAD_ARGUMENT));
    assert_eq!(Mem::multi(3, vec![a.clone(); 33]).err(), Some(IoReturn::BAD_ARGUMENT));
    assert_eq!(a.read(99, &mut [0; 2]), Err(IoReturn::NO_SPACE));
    assert_eq!(a.set_length(101), Err(IoReturn::BAD_ARGUMENT));
    a.set_length(10).unwrap();
    assert_eq!(a.write(9, &[0; 2]), Err(IoReturn::NO_SPACE));
    assert_eq!(Map::new(&a, 0, 0, 10, 0, 0).err(), Some(IoReturn::NO_SPACE));
    assert_eq!(Map::new(&a, 0, 4096, 0, 0, 0).err(), Some(IoReturn::BAD_ARGUMENT));
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert_eq!(Mem::foreign(file.into(), 3, 10).err(), Some(IoReturn::BAD_ARGUMENT));
}

#[test]
fn a_device_reaches_what_is_prepared_and_nothing_else() {
    let h = Host::new(HostConfig { collect_violations: true, ..HostConfig::simulated(1) });
    let rt = h.runtime();
    let m = Mem::buffer(2, 2 * PAGE, 0).unwrap();
    m.write(100, b"frame").unwrap();
    let d = Dma::new(rt, 1, 32).unwrap();
    assert_eq!(d.complete(), Err(IoReturn::NOT_READY));
    let (iova, len) = d.prepare(&m, 100, 0).unwrap();
    assert_eq!(d.prepare(&m, 0, 0), Err(IoReturn::BUSY));
    assert!(len == 2 * PAGE - 100 && iova + len <= 1 << 32);
    let io: &Iommu = &rt.iommu;
    // SAFETY: translate() says five bytes are there.
    assert_eq!(unsafe { std::slice::from_raw_parts(io.translate(1, iova, 5, false).unwrap(), 5) }, b"frame");
    assert!(io.translate(1, iova + len - 4, 5, false).is_none());
    assert!(io.translate(1, iova - 1, 1, false).is_none());
    assert!(io.translate(1, iova, 1, true).is_none(), "the direction is out only");
    assert!(io.translate(2, iova, 1, false).is_none(), "another device");
    let data = Mem::buffer(3, 5, 0).unwrap();
    d.perform(1, 0, 5, 0, Some(&data)).unwrap();
    let mut out = [0; 5];
    data.read(0, &mut out).unwrap();
    assert_eq!(&out, b"frame");
    assert_eq!(d.perform(1, len, 1, 0, Some(&data)), Err(IoReturn::NO_SPACE));
    d.complete().unwrap();
    assert!(io.access(1, iova, 1, false).is_none());
    assert_eq!(h.violations()[0].kind, "unmapped DMA access");
}
