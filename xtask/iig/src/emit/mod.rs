//! Text of the generated files.

pub mod header;
pub mod source;

use crate::model::{Class, Method, Parameter};
use crate::resolve::{Resolved, Role};
use std::rc::Rc;

/// 64-bit FNV-1a of `Class_Method`: stable, so that ids mean the same in every build.
/// Bit 63 says that the method belongs to a framework class.
pub fn message_id(class: &str, method: &str, framework: bool) -> u64 {
    let name = format!("{class}_{method}");
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    if framework { hash | 1 << 63 } else { hash & !(1 << 63) }
}

/// Parameters as declared, with defaults if wanted.
fn parameters(method: &Method, defaults: bool) -> Vec<String> {
    method
        .parameters
        .iter()
        .map(|parameter| match &parameter.default {
            Some(value) if defaults => format!("{} = {value}", parameter.text),
            _ => parameter.text.clone(),
        })
        .collect()
}

fn names(method: &Method) -> String {
    method.parameters.iter().map(|parameter| parameter.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// `, X_M_Args`, or nothing for a method without parameters.
fn more_arguments(class: &str, method: &Method) -> String {
    if method.parameters.is_empty() { String::new() } else { format!(", {class}_{}_Args", method.name) }
}

/// The class of the actions for a callback.
fn action_class(class: &Class, method: &Method) -> Resolved {
    Resolved {
        class: Rc::new(Class {
            source: Rc::clone(&class.source),
            name: format!("OSAction_{}_{}", class.name, method.name),
            base: Some("OSAction".to_owned()),
            other_bases: Vec::new(),
            span: class.span,
            extends: false,
            local_only: false,
            methods: Vec::new(),
            types: Vec::new(),
            type_names: Vec::new(),
            plain: Vec::new(),
        }),
        methods: Vec::new(),
        is_abstract: false,
    }
}

/// The interface class stands outside the class, where nested names are unknown.
fn mentions_nested_name(class: &Class, method: &Method) -> bool {
    let texts = method.parameters.iter().map(|p: &Parameter| p.text.as_str()).chain([method.result.as_str()]);
    let mut words = texts.flat_map(|text| text.split(|c: char| !(c.is_alphanumeric() || c == '_')));
    words.any(|word| class.type_names.iter().any(|name| name == word))
}

/// A virtual LOCALONLY method that the interface class declares.
fn in_interface(class: &Class, method: &Method, role: &Role) -> bool {
    matches!(role, Role::Local) && method.is_virtual && !method.is_static && !mentions_nested_name(class, method)
}

fn is_callback(role: &Role) -> bool {
    matches!(role, Role::Callback(_))
}
