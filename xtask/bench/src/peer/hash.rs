//! DPDK's rte_hash (DPDK Programmer's Guide, "Hash Library"). The declarations are those of rte_hash.h of DPDK 22.11.

use std::ffi::{CString, c_char, c_int, c_void};

use anyhow::{Result, bail};
use weir_core::flow::FlowKey;

/// Most keys of one call: `RTE_HASH_LOOKUP_BULK_MAX`.
pub const BULK_MAX: usize = 64;

#[repr(C)]
struct Parameters {
    name: *const c_char,
    entries: u32,
    reserved: u32,
    key_len: u32,
    hash_func: *const c_void,
    hash_func_init_val: u32,
    socket_id: c_int,
    extra_flag: u8,
}

unsafe extern "C" {
    fn rte_hash_create(params: *const Parameters) -> *mut c_void;
    fn rte_hash_free(hash: *mut c_void);
    fn rte_hash_add_key_data(hash: *const c_void, key: *const c_void, data: *mut c_void) -> c_int;
    fn rte_hash_lookup_bulk_data(
        hash: *const c_void,
        keys: *const *const c_void,
        count: u32,
        hit_mask: *mut u64,
        data: *mut *mut c_void,
    ) -> c_int;
}

/// A table from flow keys to numbers.
pub struct Hash(*mut c_void);

impl Hash {
    /// A table for `entries` keys, with the library's own hash function. DPDK's environment has started.
    ///
    /// # Errors
    /// The library refuses.
    pub fn new(entries: usize) -> Result<Self> {
        let name = CString::new("weir-flows")?;
        let parameters = Parameters {
            name: name.as_ptr(),
            // The library wants a bucket's at least.
            entries: u32::try_from(entries.max(8))?,
            reserved: 0,
            key_len: size_of::<FlowKey>() as u32,
            hash_func: std::ptr::null(),
            hash_func_init_val: 0,
            socket_id: 0,
            extra_flag: 0,
        };
        // SAFETY: the parameters are read during the call only.
        let hash = unsafe { rte_hash_create(&raw const parameters) };
        if hash.is_null() {
            bail!("rte_hash_create failed for {entries} entries");
        }
        Ok(Self(hash))
    }

    /// Adds a key; false if the table is full.
    pub fn add(&self, key: &FlowKey, number: usize) -> bool {
        // SAFETY: the key has the length that the table was created with and is copied; the data is only a number.
        unsafe { rte_hash_add_key_data(self.0, std::ptr::from_ref(key).cast(), number as *mut c_void) == 0 }
    }

    /// Looks up to [`BULK_MAX`] keys up; bit `i` of the result says whether `numbers[i]` is that of key `i`.
    pub fn find(&self, keys: &[FlowKey], numbers: &mut [usize; BULK_MAX]) -> u64 {
        let mut pointers = [std::ptr::null(); BULK_MAX];
        for (pointer, key) in pointers.iter_mut().zip(keys) {
            *pointer = std::ptr::from_ref(key).cast();
        }
        let count = keys.len().min(BULK_MAX) as u32;
        let mut hits = 0;
        // SAFETY: `count` pointers are to keys of the table's length, and there is room for as many results, which
        // are the numbers that were added.
        unsafe {
            let data = numbers.as_mut_ptr().cast();
            rte_hash_lookup_bulk_data(self.0, pointers.as_ptr(), count, &raw mut hits, data);
        }
        hits
    }
}

impl Drop for Hash {
    fn drop(&mut self) {
        // SAFETY: the table is ours and used by nobody else.
        unsafe { rte_hash_free(self.0) };
    }
}
