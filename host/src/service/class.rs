//! Classes that can be made by name.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};
use std::sync::Mutex;

use super::Svc;
use crate::net::ops::{Class, NetOps, ServiceOps};
use crate::sched::lock;

/// A registered class.
#[derive(Clone, Copy)]
pub struct ClassRef(&'static Class);

static CLASSES: Mutex<BTreeMap<String, ClassRef>> = Mutex::new(BTreeMap::new());

fn text(p: *const c_char) -> String {
    if p.is_null() {
        return String::new();
    }
    // SAFETY: dk_class_register's contract: literals that live as long as the class.
    unsafe { CStr::from_ptr(p) }.to_string_lossy().into_owned()
}

/// Enters a class; one of the same name is replaced.
pub fn register(class: &'static Class) {
    lock(&CLASSES).insert(text(class.name), ClassRef(class));
}

/// Takes a class out again (its library is being unloaded).
pub fn unregister(class: &Class) {
    lock(&CLASSES).retain(|_, c| !std::ptr::eq(c.0, class));
}

/// The class called `name`.
pub fn find(name: &str) -> Option<ClassRef> {
    lock(&CLASSES).get(name).copied()
}

/// All class names.
pub fn names() -> Vec<String> {
    lock(&CLASSES).keys().cloned().collect()
}

impl ClassRef {
    /// The table.
    pub fn raw(self) -> &'static Class {
        self.0
    }

    /// Name of the superclass.
    pub fn super_name(self) -> String {
        text(self.0.super_name)
    }

    /// True for `IOUserNetworkEthernet` and what derives from it.
    pub fn is_network(self) -> bool {
        !self.0.net_ops.is_null()
    }

    /// A new object with one reference; null without memory.
    pub(crate) fn make(self) -> *mut c_void {
        self.0.make.map_or(std::ptr::null_mut(), |f| f(self.0))
    }

    pub(crate) fn release(self, object: *mut c_void) {
        if let Some(f) = self.0.release {
            f(object);
        }
    }

    pub(crate) fn retain(self, object: *mut c_void) {
        if let Some(f) = self.0.retain {
            f(object);
        }
    }

    /// The registry entry behind an object.
    pub(crate) fn service(self, object: *mut c_void) -> Option<std::sync::Arc<Svc>> {
        if object.is_null() {
            return None;
        }
        let p = self.0.service?(object);
        if p.is_null() {
            return None;
        }
        // SAFETY: the handle came from dk_service_new (Arc::into_raw) and the object, which is alive, owns a reference.
        unsafe {
            std::sync::Arc::increment_strong_count(p);
            Some(std::sync::Arc::from_raw(p))
        }
    }

    pub(crate) fn service_ops(self) -> ServiceOps {
        if self.0.service_ops.is_null() {
            return ServiceOps::default();
        }
        // SAFETY: the table lives as long as the class (dk_class_register).
        unsafe { *self.0.service_ops }
    }

    pub(crate) fn net_ops(self) -> Option<NetOps> {
        if self.0.net_ops.is_null() {
            return None;
        }
        // SAFETY: as above.
        Some(unsafe { *self.0.net_ops })
    }
}
