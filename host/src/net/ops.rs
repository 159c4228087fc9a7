//! The up-call tables of a class, as the C++ layer gives them (`dk_service_ops`, `dk_net_ops`, `dk_class`).

use std::ffi::{c_char, c_void};

use crate::client::RawExtArgs;
use crate::mem::Mem;
use crate::service::Svc;

/// `dk_net_tso`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Tso {
    pub tso_mtu4: u32,
    pub mss4: u32,
    pub tso_mtu6: u32,
    pub mss6: u32,
}

type Obj = *mut c_void;

/// `dk_service_ops`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct ServiceOps {
    pub init: Option<extern "C" fn(Obj) -> bool>,
    pub start: Option<extern "C" fn(Obj, Obj) -> i32>,
    pub stop: Option<extern "C" fn(Obj, Obj) -> i32>,
    pub new_user_client: Option<extern "C" fn(Obj, u32, *mut Obj) -> i32>,
    pub set_power_state: Option<extern "C" fn(Obj, u32) -> i32>,
    pub external_method: Option<extern "C" fn(Obj, *mut RawExtArgs) -> i32>,
    pub copy_client_memory: Option<extern "C" fn(Obj, u64, *mut u64, *mut *const Mem) -> i32>,
    pub client_crashed: Option<extern "C" fn(Obj, Obj, u64)>,
}

/// `dk_net_ops`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct NetOps {
    pub set_interface_enable: Option<extern "C" fn(Obj, bool, bool) -> i32>,
    pub set_promiscuous: Option<extern "C" fn(Obj, bool, bool) -> i32>,
    pub set_multicast: Option<extern "C" fn(Obj, bool, *const [u8; 6], u32) -> i32>,
    pub set_all_multicast: Option<extern "C" fn(Obj, bool, bool) -> i32>,
    pub set_media: Option<extern "C" fn(Obj, bool, u32) -> i32>,
    pub set_wake_on_magic_packet: Option<extern "C" fn(Obj, bool, bool) -> i32>,
    pub set_mtu: Option<extern "C" fn(Obj, bool, u32) -> i32>,
    pub get_max_mtu: Option<extern "C" fn(Obj, bool, *mut u32) -> i32>,
    pub set_assists: Option<extern "C" fn(Obj, bool, u32, u32) -> i32>,
    pub get_assists: Option<extern "C" fn(Obj, bool, *mut u32) -> i32>,
    pub get_tso_options: Option<extern "C" fn(Obj, *mut Tso) -> i32>,
    pub get_tx_data_offset: Option<extern "C" fn(Obj) -> u32>,
    pub get_feature_flags: Option<extern "C" fn(Obj) -> u32>,
    pub get_mac: Option<extern "C" fn(Obj, *mut u8) -> i32>,
    pub set_mac: Option<extern "C" fn(Obj, *const u8) -> i32>,
    pub get_initial_media: Option<extern "C" fn(Obj) -> u32>,
    pub get_supported_media: Option<extern "C" fn(Obj, *mut u32, *mut u32) -> i32>,
    pub get_bsd_prefix: Option<extern "C" fn(Obj) -> *const c_char>,
    pub get_bsd_unit: Option<extern "C" fn(Obj) -> i32>,
    pub get_subfamily: Option<extern "C" fn(Obj) -> u32>,
    pub process_command: Option<extern "C" fn(Obj, u64, *mut c_void, *mut u64) -> i32>,
    pub bpf_tap: Option<extern "C" fn(Obj, u32, u32) -> i32>,
}

/// `dk_class`.
#[repr(C)]
#[allow(missing_docs)]
pub struct Class {
    pub name: *const c_char,
    pub super_name: *const c_char,
    pub make: Option<extern "C" fn(*const Class) -> Obj>,
    pub retain: Option<extern "C" fn(Obj)>,
    pub release: Option<extern "C" fn(Obj)>,
    pub service: Option<extern "C" fn(Obj) -> *const Svc>,
    pub service_ops: *const ServiceOps,
    pub net_ops: *const NetOps,
}

// SAFETY: a table of functions and literals that lives as long as the class is registered (dk_class_register).
unsafe impl Send for Class {}
// SAFETY: as above; it is never written.
unsafe impl Sync for Class {}
