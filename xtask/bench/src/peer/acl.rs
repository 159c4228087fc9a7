//! DPDK's rte_acl, called as its own examples do (DPDK Programmer's Guide, "Packet Classification and Access Control
//! Library"). The declarations are those of rte_acl.h of DPDK 22.11.

use std::ffi::{CString, c_char, c_int, c_void};
use std::time::Instant;

use anyhow::{Result, bail};
use weir_core::filter::classify::{Key, Rule};

use super::eal;

const MAX_FIELDS: usize = 64;
const FIELDS: usize = 5;
const MAX_PRIORITY: i32 = (1 << 29) - 1;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FieldDef {
    kind: u8,
    size: u8,
    index: u8,
    input: u8,
    offset: u32,
}

#[repr(C)]
struct Config {
    categories: u32,
    fields: u32,
    defs: [FieldDef; MAX_FIELDS],
    max_size: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Field {
    value: u64,
    mask_or_range: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct AclRule {
    category_mask: u32,
    priority: i32,
    userdata: u32,
    fields: [Field; FIELDS],
}

#[repr(C)]
struct Param {
    name: *const c_char,
    socket: c_int,
    rule_size: u32,
    max_rules: u32,
}

unsafe extern "C" {
    fn rte_acl_create(param: *const Param) -> *mut c_void;
    fn rte_acl_free(context: *mut c_void);
    fn rte_acl_add_rules(context: *mut c_void, rules: *const AclRule, count: u32) -> c_int;
    fn rte_acl_build(context: *mut c_void, config: *const Config) -> c_int;
    fn rte_acl_classify(
        context: *const c_void,
        data: *const *const u8,
        results: *mut u32,
        count: u32,
        categories: u32,
    ) -> c_int;
}

/// A header as rte_acl reads it: network byte order.
#[repr(C, align(16))]
#[derive(Clone, Copy, Default)]
pub struct Header([u8; 16]);

impl Header {
    /// From a key.
    pub fn new(key: &Key<1>) -> Self {
        let mut bytes = [0; 16];
        bytes[0] = key.class as u8;
        bytes[4..8].copy_from_slice(&key.src[0].to_be_bytes());
        bytes[8..12].copy_from_slice(&key.dst[0].to_be_bytes());
        bytes[12..14].copy_from_slice(&key.ports[0].to_be_bytes());
        bytes[14..16].copy_from_slice(&key.ports[1].to_be_bytes());
        Self(bytes)
    }
}

/// A built context.
pub struct Acl {
    context: *mut c_void,
    /// What its run-time structure takes.
    pub memory_bytes: usize,
    /// How long building took.
    pub build_ms: f64,
}

impl Acl {
    /// Starts DPDK's environment and builds the rules.
    ///
    /// # Errors
    /// What DPDK refuses.
    pub fn build(rules: &[Rule<1>], core: usize) -> Result<Self> {
        eal::start(core)?;
        let before = eal::heap();
        let name = CString::new("weir")?;
        let rule_size = size_of::<AclRule>() as u32;
        let param = Param { name: name.as_ptr(), socket: 0, rule_size, max_rules: rules.len() as u32 };
        // SAFETY: the parameters are read during the call only.
        let context = unsafe { rte_acl_create(&raw const param) };
        if context.is_null() {
            bail!("rte_acl_create failed");
        }
        let acl_rules: Vec<AclRule> = rules.iter().map(acl_rule).collect();
        // SAFETY: the rules have the size that the context was created with and are copied.
        if unsafe { rte_acl_add_rules(context, acl_rules.as_ptr(), acl_rules.len() as u32) } != 0 {
            bail!("rte_acl_add_rules failed");
        }
        let started = Instant::now();
        // SAFETY: the configuration is read during the call only.
        if unsafe { rte_acl_build(context, &raw const *config()) } != 0 {
            bail!("rte_acl_build failed");
        }
        let build_ms = started.elapsed().as_secs_f64() * 1e3;
        Ok(Self { context, memory_bytes: eal::heap().saturating_sub(before), build_ms })
    }

    /// Looks a burst up; a result is the rule's number plus 1, or 0.
    pub fn classify(&self, headers: &[*const u8], results: &mut [u32]) {
        let count = headers.len().min(results.len()) as u32;
        // SAFETY: each pointer is to a `Header`, which has all the bytes that the field definitions name.
        unsafe { rte_acl_classify(self.context, headers.as_ptr(), results.as_mut_ptr(), count, 1) };
    }
}

impl Drop for Acl {
    fn drop(&mut self) {
        // SAFETY: the context is ours and used by nobody else.
        unsafe { rte_acl_free(self.context) };
    }
}

/// Protocol, the two addresses, the two ports; the ports share one input word, as rte_acl wants it.
fn config() -> Box<Config> {
    const MASK: u8 = 0;
    const RANGE: u8 = 1;
    const BITMASK: u8 = 2;
    let mut defs = [FieldDef::default(); MAX_FIELDS];
    defs[0] = FieldDef { kind: BITMASK, size: 1, index: 0, input: 0, offset: 0 };
    defs[1] = FieldDef { kind: MASK, size: 4, index: 1, input: 1, offset: 4 };
    defs[2] = FieldDef { kind: MASK, size: 4, index: 2, input: 2, offset: 8 };
    defs[3] = FieldDef { kind: RANGE, size: 2, index: 3, input: 3, offset: 12 };
    defs[4] = FieldDef { kind: RANGE, size: 2, index: 4, input: 3, offset: 14 };
    Box::new(Config { categories: 1, fields: FIELDS as u32, defs, max_size: 0 })
}

fn acl_rule(rule: &Rule<1>) -> AclRule {
    let field = |value: u32, mask_or_range: u32| Field { value: value.into(), mask_or_range: mask_or_range.into() };
    AclRule {
        category_mask: 1,
        priority: MAX_PRIORITY - rule.priority as i32,
        userdata: rule.priority + 1,
        fields: [
            field(rule.class.into(), rule.class_mask.into()),
            field(rule.src[0], rule.src_mask[0].count_ones()),
            field(rule.dst[0], rule.dst_mask[0].count_ones()),
            field(rule.low[0].into(), rule.high[0].into()),
            field(rule.low[1].into(), rule.high[1].into()),
        ],
    }
}
