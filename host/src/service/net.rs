//! The kernel's calls into an `IOUserNetworkEthernet`, and its registration.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use super::{Phase, Svc};
use crate::diag::Site;
use crate::ioreturn::{IoResult, IoReturn};
use crate::net::assist;
use crate::net::iface::{self, Answers, DEFAULT_MTU, Iface, Registration};
use crate::net::ops::{NetOps, Tso};
use crate::port::PortRequest;
use crate::sched::lock;

/// Smallest MTU a kernel asks for (RFC 791).
const MTU_MIN: u32 = 68;
/// Largest MTU that fits an Ethernet frame with a 16-bit length.
const MTU_LIMIT: u32 = 65_517;
/// Assists that the runtime makes use of or passes on; unknown bits are ignored, as the real stack does.
const KNOWN_ASSISTS: u32 = assist::TX_CHECKSUM_TCP
    | assist::TX_CHECKSUM_UDP
    | assist::TSO4
    | assist::TSO6
    | assist::RX_CHECKSUM
    | 0x1
    | 0x2_0000
    | 0x400_0000
    | 0x800_0000;

type Obj = *mut std::ffi::c_void;

fn code(r: Option<i32>) -> IoResult<()> {
    IoReturn(r.unwrap_or(IoReturn::UNSUPPORTED.0)).ok()
}

/// What `getSupportedMediaArray` answers; `None` if the driver has no answer.
fn supported_media(ops: &NetOps, object: Obj) -> Option<Vec<u32>> {
    let mut media = [0u32; 64];
    let mut n = media.len() as u32;
    code(ops.get_supported_media.map(|f| f(object, media.as_mut_ptr(), &mut n))).ok()?;
    Some(media.get(..n as usize)?.to_vec())
}

impl Svc {
    /// The registered interface.
    ///
    /// # Errors
    /// `NOT_ATTACHED` before registration.
    pub fn interface(&self) -> IoResult<&Arc<Iface>> {
        self.iface.get().ok_or(IoReturn::NOT_ATTACHED)
    }

    /// `RegisterEthernetInterface` in all its forms; called on a queue of the driver.
    ///
    /// # Errors
    /// `NOT_READY` before `super::Start` or the media list, `EXCLUSIVE_ACCESS` the second time, `BAD_ARGUMENT` for
    /// queues and pools that do not fit together, `UNSUPPORTED` for a class that is no network class; what the driver
    /// returned when it was asked for its address.
    pub fn register_interface(self: &Arc<Self>, r: Registration, site: Site) -> IoResult<()> {
        let ops = self.net_ops().ok_or(IoReturn::UNSUPPORTED)?;
        if !self.check_network("RegisterEthernetInterface", false, site) {
            return Err(IoReturn::OFFLINE);
        }
        let config = lock(&self.config).clone();
        if self.phase() < Phase::SuperStarted {
            return Err(IoReturn::NOT_READY);
        }
        if self.iface.get().is_some() {
            return Err(IoReturn::EXCLUSIVE_ACCESS);
        }
        iface::check(&r)?;
        let answers = self.ask(&ops, &r, config.media.is_some())?;
        let name = CString::new(answers.name.as_str()).unwrap_or_default();
        let iface = Iface::new(self, r, answers, &config);
        if self.iface.set(iface).is_err() {
            return Err(IoReturn::EXCLUSIVE_ACCESS);
        }
        let _ = self.bsd_name.set(name);
        self.rt().trace.event(self.rt().trace_now(), "register", self.id(), 0);
        Ok(())
    }

    /// Asks the driver once for everything that does not change later.
    fn ask(&self, ops: &NetOps, r: &Registration, media_reported: bool) -> IoResult<Answers> {
        let object = self.object();
        if !media_reported {
            // The lowercase generation may answer with getSupportedMediaArray instead of reporting; one that knows its media
            // only when it was started is asked again when the interface goes up.
            let media = supported_media(ops, object).ok_or(IoReturn::NOT_READY)?;
            lock(&self.config).media = Some(media).filter(|media| !media.is_empty());
        }
        let mut mac = r.mac.unwrap_or_default();
        if r.mac.is_none() {
            code(ops.get_mac.map(|f| f(object, mac.as_mut_ptr())))?;
        }
        // A group address, or none at all, is no station's address (IEEE 802 section 8.2).
        if mac[0] & 1 != 0 || mac == [0; 6] {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let mut mtu_max = DEFAULT_MTU;
        if code(ops.get_max_mtu.map(|f| f(object, r.lower, &mut mtu_max))).is_err() {
            mtu_max = DEFAULT_MTU;
        }
        if !(MTU_MIN..=MTU_LIMIT).contains(&mtu_max) {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let mut assists = 0;
        if code(ops.get_assists.map(|f| f(object, r.lower, &mut assists))).is_err() {
            assists = 0;
        }
        assists &= KNOWN_ASSISTS;
        let mut tso = Tso::default();
        if assists & (assist::TSO4 | assist::TSO6) != 0 {
            let _ = code(ops.get_tso_options.map(|f| f(object, &mut tso)));
        }
        if tso.tso_mtu4 == 0 {
            assists &= !assist::TSO4;
        }
        if tso.tso_mtu6 == 0 {
            assists &= !assist::TSO6;
        }
        let number = |f: Option<extern "C" fn(Obj) -> u32>| f.map_or(0, |f| f(object));
        let prefix = match ops.get_bsd_prefix.map(|f| f(object)) {
            // SAFETY: the up-call's contract: null or a NUL-terminated string, valid until the object is called again.
            Some(p) if !p.is_null() => unsafe { CStr::from_ptr(p) }.to_string_lossy().into_owned(),
            _ => String::new(),
        };
        let prefix = if prefix.is_empty() { "en".to_owned() } else { prefix.chars().take(11).collect() };
        let unit = self.rt().take_unit(&prefix, ops.get_bsd_unit.map_or(-1, |f| f(object)));
        Ok(Answers {
            mac,
            mtu_max,
            assists,
            tso,
            tx_data_offset: number(ops.get_tx_data_offset),
            name: format!("{prefix}{unit}"),
            feature_flags: number(ops.get_feature_flags),
            initial_media: number(ops.get_initial_media),
            subfamily: number(ops.get_subfamily),
        })
    }

    /// Calls one of the driver's methods on its Default queue: `f(ops, object, lower)`.
    fn net_call(self: &Arc<Self>, f: impl FnOnce(&NetOps, Obj, bool) -> Option<i32> + Send + 'static) -> IoResult<()> {
        let lower = self.interface()?.lower;
        let ops = self.net_ops().ok_or(IoReturn::UNSUPPORTED)?;
        if self.phase() >= Phase::Stopping {
            return Err(IoReturn::OFFLINE);
        }
        code(self.call(move |_, object| f(&ops, object, lower))?)
    }

    /// `ifconfig up` and `down`.
    ///
    /// # Errors
    /// What the driver returned; on an error of up the interface is down.
    pub(crate) fn set_enabled(self: &Arc<Self>, enable: bool) -> IoResult<()> {
        let iface = self.interface()?.clone();
        if !enable {
            iface.begin_disable();
        }
        let svc = self.clone();
        self.net_call(move |ops, object, lower| {
            if enable {
                if lock(&svc.config).media.is_none() {
                    let media = supported_media(ops, object);
                    lock(&svc.config).media = media.filter(|media| !media.is_empty());
                }
                iface.begin_enable();
            }
            let r = ops.set_interface_enable.map(|f| f(object, lower, enable));
            if !iface.is_gone() {
                iface.end_enable(enable && r == Some(0));
            }
            r
        })
    }

    /// The MTU; above the driver's maximum it is refused without asking.
    pub(crate) fn set_mtu(self: &Arc<Self>, mtu: u32) -> IoResult<()> {
        let iface = self.interface()?.clone();
        if mtu < MTU_MIN || mtu > iface.mtu_max() {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        self.net_call(move |ops, object, lower| ops.set_mtu.map(|f| f(object, lower, mtu)))?;
        iface.store_mtu(mtu);
        Ok(())
    }

    pub(crate) fn set_promiscuous(self: &Arc<Self>, on: bool) -> IoResult<()> {
        self.net_call(move |ops, object, lower| ops.set_promiscuous.map(|f| f(object, lower, on)))
    }

    pub(crate) fn set_all_multicast(self: &Arc<Self>, on: bool) -> IoResult<()> {
        self.net_call(move |ops, object, lower| ops.set_all_multicast.map(|f| f(object, lower, on)))
    }

    pub(crate) fn set_multicast(self: &Arc<Self>, list: Vec<[u8; 6]>) -> IoResult<()> {
        self.net_call(move |ops, object, lower| {
            ops.set_multicast.map(|f| f(object, lower, list.as_ptr(), list.len() as u32))
        })
    }

    pub(crate) fn set_media(self: &Arc<Self>, media: u32) -> IoResult<()> {
        self.net_call(move |ops, object, lower| ops.set_media.map(|f| f(object, lower, media)))
    }

    pub(crate) fn set_wake_on_magic_packet(self: &Arc<Self>, on: bool) -> IoResult<()> {
        if !lock(&self.config).wake_on_magic_packet {
            return Err(IoReturn::UNSUPPORTED);
        }
        self.net_call(move |ops, object, lower| ops.set_wake_on_magic_packet.map(|f| f(object, lower, on)))
    }

    pub(crate) fn set_mac(self: &Arc<Self>, mac: [u8; 6]) -> IoResult<()> {
        if mac[0] & 1 != 0 || mac == [0; 6] {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let iface = self.interface()?.clone();
        self.net_call(move |ops, object, _| ops.set_mac.map(|f| f(object, mac.as_ptr())))?;
        iface.store_mac(mac);
        Ok(())
    }

    /// Turns offered assists on and off.
    pub(crate) fn set_assists(self: &Arc<Self>, assists: u32, mask: u32) -> IoResult<()> {
        let iface = self.interface()?.clone();
        self.net_call(move |ops, object, lower| ops.set_assists.map(|f| f(object, lower, assists, mask)))?;
        iface.mask_assists(assists, mask);
        Ok(())
    }

    /// `SIOCxDRVSPEC`: `data` goes in and what the driver left comes out.
    pub(crate) fn drvspec(self: &Arc<Self>, command: u64, data: Vec<u8>) -> IoResult<Vec<u8>> {
        let ops = self.net_ops().ok_or(IoReturn::UNSUPPORTED)?;
        self.call(move |_, object| {
            let mut data = data;
            let mut len = data.len() as u64;
            let r = ops.process_command.map(|f| f(object, command, data.as_mut_ptr().cast(), &mut len));
            data.truncate(len as usize);
            code(r).map(|()| data)
        })?
    }

    /// `SetPowerState` (0 off, 1 low, 2 on as in `kIOServicePowerCapability*`).
    pub(crate) fn set_power_state(self: &Arc<Self>, flags: u32) -> IoResult<()> {
        if self.phase() >= Phase::Stopping {
            return Err(IoReturn::OFFLINE);
        }
        let ops = self.ops();
        let r = self.call(move |_, object| ops.set_power_state.map(|f| f(object, flags)))?;
        code(r)?;
        if self.power() != flags {
            let class = self.class().to_string_lossy().into_owned();
            let text = format!("{class}::SetPowerState({flags}) did not call super::SetPowerState");
            crate::diag::warning(&text, Site::NONE);
        }
        Ok(())
    }

    /// What a stack asks for.
    pub(crate) fn port_request(self: &Arc<Self>, request: PortRequest) -> IoResult<()> {
        match request {
            PortRequest::Enable(on) => self.set_enabled(on),
            PortRequest::Mtu(mtu) => self.set_mtu(mtu),
            PortRequest::HardwareAddress(mac) => self.set_mac(mac),
            PortRequest::Promiscuous(on) => self.set_promiscuous(on),
            PortRequest::AllMulticast(on) => self.set_all_multicast(on),
            PortRequest::Multicast(list) => self.set_multicast(list),
        }
    }
}
